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
  if (!node.IsScalar()) fail(ErrorKind::kParse, where + " must be a value or a list of values");
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

class ConfigReader {
 public:
  ConfigReader(const CLI::App& command, std::string path, const std::vector<std::string>& given)
      : command_(command), path_(std::move(path)), given_(given) {}

  Arguments read() {
    const YAML::Node document = load(path_);
    if (!document.IsMap()) fail(ErrorKind::kParse, path_ + ": must be a map of flags and values");
    for (const auto& entry : document) add(entry.first, entry.second);
    return std::move(result_);
  }

 private:
  void add(const YAML::Node& key_node, const YAML::Node& value) {
    const std::string place = path_ + ": line " + std::to_string(key_node.Mark().line + 1);
    const std::string key = scalar(key_node, place + ": a key");
    const std::string name = flag_name(key);
    const std::string where = place + ": " + key;
    const CLI::Option* option = find_option(command_, name);
    if (option == nullptr || name == "config" || name == "help") {
      fail(ErrorKind::kArgument, where + " is not a key of wick " + command_.get_name() +
                                     "; the nearest is " + nearest_flag(command_, name));
    }
    if (std::find(seen_.begin(), seen_.end(), option) != seen_.end()) {
      fail(ErrorKind::kParse, where + " is there twice, perhaps by another of its names");
    }
    seen_.push_back(option);
    if (value.IsNull() || is_given(*option, given_)) return;
    for (const std::string& text : texts_of(value, *option, where)) append(*option, name, text);
    for (const std::string& long_name : option->get_lnames()) {
      result_.origins.emplace_back("--" + long_name, place);
    }
  }

  static std::vector<std::string> texts_of(const YAML::Node& value, const CLI::Option& option,
                                           const std::string& where) {
    std::vector<std::string> texts;
    if (value.IsSequence()) {
      for (const YAML::Node& item : value) texts.push_back(scalar(item, where));
    } else if (value.IsMap() && option.get_expected_max() > 1) {
      for (const auto& item : value) {
        texts.push_back(scalar(item.first, where) + "=" + scalar(item.second, where));
      }
    } else {
      texts.push_back(scalar(value, where));
    }
    return texts;
  }

  // With "=" a value may begin with dashes; an empty one must stand by itself.
  void append(const CLI::Option& option, const std::string& name, const std::string& text) {
    const bool is_flag = option.get_type_size() == 0;
    if (text.empty() && !is_flag) {
      result_.values.push_back("--" + name);
      result_.values.emplace_back();
    } else {
      result_.values.push_back("--" + name + "=" + text);
    }
  }

  const CLI::App& command_;
  std::string path_;
  const std::vector<std::string>& given_;
  std::vector<const CLI::Option*> seen_;
  Arguments result_;
};

}  // namespace

std::string nearest_flag(const CLI::App& command, const std::string& name) {
  std::string best;
  std::size_t best_distance = std::string::npos;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& known : option->get_lnames()) {
      const std::size_t d = distance(name, known);
      if (d < best_distance && known != "help" && known != "config") {
        best_distance = d;
        best = known;
      }
    }
  }
  return best;
}

std::vector<std::string> with_dashes(std::vector<std::string> arguments) {
  for (std::string& argument : arguments) {
    if (argument == "--") break;
    if (!argument.starts_with("--")) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin(), argument.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  }
  return arguments;
}

Arguments apply_config_file(const CLI::App& app, std::vector<std::string> arguments) {
  const auto is_config = [](const std::string& argument) {
    return argument == "--config" || argument == "-c" || argument.starts_with("--config=");
  };
  const auto found = std::find_if(arguments.begin(), arguments.end(), is_config);
  const CLI::App* command = arguments.empty() ? nullptr : find_command(app, arguments[0]);
  if (found == arguments.end() || command == nullptr) return {std::move(arguments), {}};
  const bool is_joined = found->starts_with("--config=");
  if (!is_joined && found + 1 == arguments.end()) {
    fail(ErrorKind::kArgument, *found + " needs the path of a YAML or JSON file");
  }
  const std::string path = is_joined ? found->substr(9) : *(found + 1);
  arguments.erase(found, found + (is_joined ? 1 : 2));
  if (std::find_if(arguments.begin(), arguments.end(), is_config) != arguments.end()) {
    fail(ErrorKind::kArgument, "--config is there twice");
  }
  Arguments result = ConfigReader(*command, path, arguments).read();
  result.values.insert(result.values.begin(), arguments[0]);
  result.values.insert(result.values.end(), arguments.begin() + 1, arguments.end());
  return result;
}

}  // namespace wick::cli
