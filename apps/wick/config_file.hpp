#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

namespace wick::cli {

/// A command line in which `--config FILE` was replaced by what the file says.
struct Arguments {
  std::vector<std::string> values;
  /// for every flag that came from a file its name, as in "--lr", and its place, as in "job.yaml: line 3"
  std::vector<std::pair<std::string, std::string>> origins;
};

/// Replaces `--config FILE` among the arguments by the flags that the YAML or JSON file holds, those on the command line
/// left out: flags win. Keys are the flags' names, with - or _. A list repeats its flag, a map stands for NAME=VALUE pairs
/// (rank_pattern), null for nothing. Throws Error kIo, kParse; kArgument for a key that the command does not have, with
/// the nearest one that it has.
Arguments apply_config_file(const CLI::App& app, std::vector<std::string> arguments);

/// The long flag of a command whose name is nearest to `name`, without dashes.
std::string nearest_flag(const CLI::App& command, const std::string& name);

/// "--learning_rate=1" is "--learning-rate=1": Hugging Face's scripts write flags so.
std::vector<std::string> with_dashes(std::vector<std::string> arguments);

}  // namespace wick::cli
