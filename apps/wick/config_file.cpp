#include "config_file.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <numeric>

#include "base/json.hpp"
#include "wick/base/error.hpp"

namespace wick::cli {

namespace {

[[noreturn]] void fail(ErrorKind kind, const std::string& rule) {
  throw Error(kind, "config", rule);
}

std::string flag_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return key;
}

// Levenshtein's distance.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->check_name(name)) return command;
  }
  return nullptr;
}

const CLI::Option* find_option(const CLI::App& command, const std::string& name) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->check_lname(name)) return option;
  }
  return nullptr;
}

std::string nearest(const CLI::App& command, const std::string& name) {
  std::string best;
  std::size_t best_distance = name.size() + 1;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& known : option->get_lnames()) {
      const std::size_t d = distance(name, known);
      if (d < best_distance) {
        best_distance = d;
        best = known;
      }
    }
  }
  return best;
}

// True when the command line names the option by any of its names.
bool is_given(const CLI::Option& option, const std::vector<std::string>& arguments) {
  const auto names = [&](const std::string& argument) {
    if (argument.starts_with("--")) {
      return option.check_lname(argument.substr(2, argument.find('=') - 2));
    }
    return argument.size() >= 2 && argument[0] == '-' && option.check_sname(argument.substr(1, 1));
  };
  return std::any_of(arguments.begin(), arguments.end(), names);
}

std::string scalar(const YAML::Node& node, const std::string& where) {
  if (!node.IsScalar()) fail(ErrorKind::kParse, where + ": must be a value or a list of values");
  return node.Scalar();
}

YAML::Node load(const std::string& path) {
  const std::string text = detail::read_text_file(path);
  // JSON is checked by our own reader, which refuses repeated keys; YAML reads it all the same.
  if (path.ends_with(".json")) detail::parse_json(text, path);
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    fail(ErrorKind::kParse, path + ": line " + std::to_string(error.mark.line + 1) + ", column " +
                                std::to_string(error.mark.column + 1) + ": " + error.msg);
  }
}

void append_flag(const CLI::App& command, const std::string& path, const std::string& key,
                 const YAML::Node& value, const std::vector<std::string>& given,
                 std::vector<std::string>& flags) {
  const std::string name = flag_name(key);
  const std::string where = path + ": line " + std::to_string(value.Mark().line + 1) + ": " + key;
  const CLI::Option* option = find_option(command, name);
  if (option == nullptr || name == "config" || name == "help") {
    fail(ErrorKind::kArgument,
         where + " is not a key of this command; the nearest is " + nearest(command, name));
  }
  if (value.IsNull() || is_given(*option, given)) return;
  if (value.IsSequence()) {
    for (const YAML::Node& item : value) flags.push_back("--" + name + "=" + scalar(item, where));
  } else {
    flags.push_back("--" + name + "=" + scalar(value, where));
  }
}

}  // namespace

std::vector<std::string> apply_config_file(const CLI::App& app,
                                           std::vector<std::string> arguments) {
  const auto is_config = [](const std::string& argument) {
    return argument == "--config" || argument == "-c" || argument.starts_with("--config=");
  };
  const auto found = std::find_if(arguments.begin(), arguments.end(), is_config);
  if (found == arguments.end() || arguments.empty()) return arguments;
  const CLI::App* command = find_command(app, arguments[0]);
  if (command == nullptr) return arguments;
  const bool is_joined = found->starts_with("--config=");
  if (!is_joined && found + 1 == arguments.end()) {
    fail(ErrorKind::kArgument, *found + " needs the path of a YAML or JSON file");
  }
  const std::string path = is_joined ? found->substr(9) : *(found + 1);
  arguments.erase(found, found + (is_joined ? 1 : 2));

  const YAML::Node document = load(path);
  if (!document.IsMap()) fail(ErrorKind::kParse, path + ": must be a map of flags and values");
  std::vector<std::string> keys;
  std::vector<std::string> flags{arguments[0]};
  for (const auto& entry : document) {
    const auto key = scalar(entry.first, path);
    if (std::find(keys.begin(), keys.end(), flag_name(key)) != keys.end()) {
      fail(ErrorKind::kParse, path + ": " + key + " is there twice");
    }
    keys.push_back(flag_name(key));
    append_flag(*command, path, key, entry.second, arguments, flags);
  }
  flags.insert(flags.end(), arguments.begin() + 1, arguments.end());
  return flags;
}

}  // namespace wick::cli
