#include "command.hpp"

namespace wick::cli {

namespace {

constexpr const char* kFooter = R"(A first run:
  wick train --model DIR --data DIR --output-dir my-adapter
  wick generate --model DIR --adapter my-adapter --prompt "Once upon a time"

wick COMMAND --help explains a command. Each takes --config FILE, YAML or JSON with the names of its flags; flags win.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a file cannot be read or written,
4 a file's content is broken or unsupported, 5 out of memory, 130 interrupted.)";

}  // namespace

void add_commands(CLI::App& app, Session& session) {
  app.description("LoRA fine-tuning and inference of transformer language models");
  app.footer(kFooter);
  app.set_version_flag("--version", "wick " WICK_VERSION, "Print the version and exit");
  app.require_subcommand(1);
  app.fallthrough(false);
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
  add_tune_command(app, session);
  add_selftest_command(app, session);
  for (CLI::App* command : app.get_subcommands({})) {
    command->add_option("--config,-c", "YAML or JSON file with the names of these flags")
        ->type_name("FILE");
  }
}

}  // namespace wick::cli
