// Prints docs/commands.md from what the program knows of itself; with `--check FILE` says whether FILE is that.

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "command.hpp"

namespace wick::cli {
namespace {

constexpr const char* kIntroduction = R"(# The command `wick`

This page is printed by the program's own description of itself (`wick_commands_page`); a test fails when it is old.
`wick COMMAND --help` says the same on the terminal.

Flags may be written with `_` in place of `-`, as Hugging Face's scripts write them. A flag that may be repeated takes
several values at once too. A flag without a value is a switch: `--packing` is `--packing=true`.

Results go to standard output, progress and messages to standard error. With `--json` the output is one JSON object a
line (`devices` and `inspect`: one document).

## Configuration files

Every command takes `--config FILE`: YAML or JSON with the names of its flags, with `-` or `_`. What the command line
names wins. A list repeats a flag, a map stands for `NAME=VALUE` pairs, `null` for nothing. An unknown key is refused with
the nearest one that exists.

```yaml
model: ./Qwen2.5-0.5B
data: ./chats
output_dir: my-adapter
r: 16
lora_alpha: 32
target_modules: [q_proj, k_proj, v_proj, o_proj]
rank_pattern: {down_proj: 4}
learning_rate: 2e-4
```

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | the work could not be done (a loss that is no number), or a comparison of `selftest` does not hold |
| 2 | a flag, a value or a combination of them is wrong |
| 3 | a file cannot be read or written, or standard output cannot take the results |
| 4 | a file breaks its format, holds what Wick does not support, or does not fit the model |
| 5 | not enough memory, or more than `--memory-budget` |
| 130 | interrupted by SIGINT or SIGTERM: `train` has saved a checkpoint unless a second one came |

)";

// A cell of a table, or text between tags.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? std::string("\\|") : std::string(1, c);
  return result;
}

std::string names_of(const CLI::Option& option) {
  if (option.get_lnames().empty() && option.get_snames().empty()) {
    return "`" + option.get_single_name() + "`";
  }
  std::vector<std::string> names;
  for (const std::string& name : option.get_lnames()) names.push_back("`--" + name + "`");
  for (const std::string& name : option.get_snames()) names.push_back("`-" + name + "`");
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string default_of(const CLI::Option& option) {
  if (option.get_required()) return "required";
  const std::string& text = option.get_default_str();
  return text.empty() ? "" : "`" + text + "`";
}

std::string row(const CLI::Option& option) {
  const bool is_repeated = option.get_expected_max() > 1 && option.get_type_size() != 0;
  return fmt::format("| {} | {} | {}{} |\n", names_of(option), cell(default_of(option)),
                     cell(option.get_description()), is_repeated ? " (several)" : "");
}

std::string synopsis(const CLI::App& command) {
  std::string text = "wick " + command.get_name();
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_required()) continue;
    text += option->get_lnames().empty() ? " PATH" : " --" + option->get_lnames().front() + " …";
  }
  return text + " [flags]";
}

std::string section(const CLI::App& command) {
  std::string text = fmt::format("## wick {}\n\n{}.\n\n```\n{}\n```\n\n", command.get_name(),
                                 command.get_description(), synopsis(command));
  std::vector<std::string> groups;
  std::map<std::string, std::string> rows;
  for (const CLI::Option* option : command.get_options()) {
    if (option->check_lname("help")) continue;
    const std::string group = option->get_group() == "Options" ? "" : option->get_group();
    if (rows.find(group) == rows.end()) groups.push_back(group);
    rows[group] += row(*option);
  }
  for (const std::string& group : groups) {
    if (!group.empty()) text += "**" + group + "**\n\n";
    text += "| flag | default | meaning |\n|---|---|---|\n" + rows[group] + "\n";
  }
  return text + "```\n" + command.get_footer() + "\n```\n\n";
}

std::string page() {
  CLI::App app("", "wick");
  Session session;
  add_commands(app, session);
  std::string text = kIntroduction;
  for (const CLI::App* command : app.get_subcommands({})) text += section(*command);
  text.pop_back();
  return text;
}

int check(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (text == page()) {
    fmt::print("{} says what the program says\n", path);
    return 0;
  }
  fmt::print(stderr, "{0} is old; run: wick_commands_page > {0}\n", path);
  return 1;
}

}  // namespace
}  // namespace wick::cli

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "--check") return wick::cli::check(arguments[1]);
  if (!arguments.empty()) {
    fmt::print(stderr, "usage: wick_commands_page [--check FILE]\n");
    return 2;
  }
  fmt::print("{}", wick::cli::page());
  return 0;
}
