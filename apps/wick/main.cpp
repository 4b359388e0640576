#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "command.hpp"
#include "config_file.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

int report(const std::string& message, ExitCode code) {
  print_note("wick: " + message + "\n");
  return code;
}

// The command that was asked for, or the program itself.
const CLI::App& chosen(const CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? app : *commands[0];
}

// "--r" is not in "--rank-pattern".
bool names_flag(const std::string& message, const std::string& flag) {
  const auto goes_on = [&](std::size_t at) {
    return at < message.size() &&
           (message[at] == '-' || std::isalnum(static_cast<unsigned char>(message[at])) != 0);
  };
  std::size_t at = message.find(flag);
  while (at != std::string::npos && goes_on(at + flag.size())) at = message.find(flag, at + 1);
  return at != std::string::npos;
}

int report_usage(const CLI::App& app, const CLI::ParseError& error, const Arguments& arguments) {
  const CLI::App& command = chosen(app);
  std::string message = error.what();
  for (const std::string& value : arguments.values) {
    const bool is_unknown = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr &&
                            value.starts_with("--") && command.remaining_size(true) > 0;
    const std::string name = value.substr(0, value.find('='));
    const auto left = command.remaining(true);
    if (is_unknown && std::find(left.begin(), left.end(), value) != left.end()) {
      message.append("\nThe flag nearest to ").append(name);
      message.append(" is --").append(nearest_flag(command, name.substr(2)));
    }
  }
  for (const auto& [flag, place] : arguments.origins) {
    if (names_flag(message, flag))
      message.append("\n").append(flag).append(" is from ").append(place);
  }
  const std::string name = &command == &app ? "wick" : "wick " + command.get_name();
  return report(message + "\n" + name + " --help explains the flags.", kUsage);
}

int run_command(CLI::App& app, const Session& session, const Arguments& arguments) {
  try {
    std::vector<std::string> last_first(arguments.values.rbegin(), arguments.values.rend());
    app.parse(last_first);
    return session.exit_code;
  } catch (const CLI::Success& asked) {  // --help or --version
    app.exit(asked);
    std::cout.flush();
    if (!std::cout) throw Error(ErrorKind::kIo, "standard output", "cannot be written");
    return kSuccess;
  } catch (const CLI::ParseError& error) {
    return report_usage(app, error, arguments);
  }
}

int run(const std::vector<std::string>& command_line) {
  CLI::App app("", "wick");
  Session session;
  session.command_line = command_line;
  add_commands(app, session);
  if (command_line.empty()) {
    print_note(app.help());
    return kUsage;
  }
  try {
    const int code = run_command(app, session, apply_config_file(app, with_dashes(command_line)));
    flush_out();
    return code;
  } catch (const Error& error) {
    return report(error.what(), exit_code_of(error));
  } catch (const std::bad_alloc&) {
    return report("the system has no more memory", kMemory);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(error.what(), kFileAccess);
  } catch (const std::exception& error) {
    return report(error.what(), kFailure);
  }
}

}  // namespace

}  // namespace wick::cli

int main(int argc, char** argv) {
  wick::cli::prepare_process();
  return wick::cli::run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
}
