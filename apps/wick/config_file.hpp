#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace wick::cli {

/// Replaces `--config FILE` among the arguments by the flags that the YAML or JSON file holds, those on the command line
/// left out: flags win. Keys are the flags' names, with - or _. Throws Error kIo, kParse; kArgument for a key that the
/// command does not have, with the nearest one that it has.
std::vector<std::string> apply_config_file(const CLI::App& app, std::vector<std::string> arguments);

}  // namespace wick::cli
