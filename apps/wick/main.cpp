#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "command.hpp"
#include "config_file.hpp"

namespace wick::cli {

namespace {

constexpr const char* kFooter = R"(A first run:
  wick train --model DIR --data DIR --output-dir my-adapter
  wick generate --model DIR --adapter my-adapter --prompt "Once upon a time"

Any command takes --config FILE: YAML or JSON with the names of its flags. Flags win.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a file cannot be read or written,
4 a file's content is broken or unsupported, 5 out of memory, 130 interrupted.)";

void add_commands(CLI::App& app, Session& session) {
  add_train_command(app, session);
  add_generate_command(app, session);
  add_chat_command(app, session);
  add_eval_command(app, session);
  add_embed_command(app, session);
  add_merge_command(app, session);
  add_inspect_command(app, session);
  add_tokenize_command(app, session);
  add_devices_command(app, session);
  add_bench_command(app, session);
  add_selftest_command(app, session);
  for (CLI::App* command : app.get_subcommands({})) {
    command->add_option("--config,-c", "YAML or JSON file with the names of these flags");
    command->option_defaults()->always_capture_default();
  }
}

int run(std::vector<std::string> arguments) {
  CLI::App app("LoRA fine-tuning and inference of transformer language models", "wick");
  app.footer(kFooter);
  app.set_version_flag("--version", "wick 0.1.0");
  app.require_subcommand(1);
  app.fallthrough(false);
  Session session;
  add_commands(app, session);
  try {
    std::vector<std::string> flags = apply_config_file(app, std::move(arguments));
    std::vector<std::string> reversed(flags.rbegin(), flags.rend());
    app.parse(reversed);
    return session.exit_code;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kSuccess : kUsage;
  } catch (const Error& error) {
    fmt::print(stderr, "wick: {}\n", error.what());
    return exit_code_of(error);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "wick: the system has no more memory\n");
    return kMemory;
  } catch (const std::exception& error) {
    fmt::print(stderr, "wick: {}\n", error.what());
    return kFailure;
  }
}

}  // namespace

}  // namespace wick::cli

int main(int argc, char** argv) {
  return wick::cli::run(std::vector<std::string>(argv + 1, argv + argc));
}
