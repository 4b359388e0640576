#include <unistd.h>

#include <iostream>

#include "command.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

struct Flags {
  ModelFlags model;
  GenerateFlags generate;
};

class Chat {
 public:
  explicit Chat(const Flags& flags)
      : is_terminal_(isatty(STDIN_FILENO) != 0), session_(open(flags)) {}

  int run() {
    watch_interrupts();
    if (is_terminal_) print_note("Type a message. /reset begins anew, /exit or Ctrl-D ends.\n");
    std::string line;
    while (read(line) && line != "/exit") {
      if (line == "/reset") {
        session_.reset();
      } else if (line.find_first_not_of(" \t\r") != std::string::npos) {
        reply(line);
      }
    }
    if (is_terminal_) print_note("\n");
    return is_interrupted() ? kInterrupted : kSuccess;
  }

 private:
  static ChatSession open(const Flags& flags) {
    flags.generate.options.sampling.check();
    const Tokenizer tokenizer = flags.model.load_tokenizer();
    const ChatTemplate how =
        choose_template(flags.generate.chat_template, flags.model.template_folder());
    return {flags.model.load_causal_lm(),
            tokenizer,
            how,
            {.generate = flags.generate.options,
             .system_prompt = flags.generate.system_prompt,
             .drop_oldest_turns = true}};
  }

  bool read(std::string& line) const {
    if (is_terminal_) print_note("> ");
    return (!is_terminal_ || wait_for_input()) && std::getline(std::cin, line);
  }

  // An interrupt ends the reply, not the conversation. At a terminal nor does a message that the model cannot take.
  void reply(const std::string& message) {
    try {
      session_.reply(message, [](std::string_view text) {
        print_out(text);
        flush_out();
        return !is_interrupted();
      });
      print_out("\n");
      flush_out();
    } catch (const Error& error) {
      if (!is_terminal_ || error.kind() != ErrorKind::kArgument) throw;
      print_note(std::string("wick: ") + error.what() + "\n");
    }
    if (is_terminal_) forget_interrupt();
  }

  bool is_terminal_;
  ChatSession session_;
};

constexpr const char* kFooter = R"(Standard input may be a file or a pipe: one message a line.

Examples:
  wick chat --model DIR --adapter my-adapter
  wick chat --model DIR --system-prompt "Answer in one sentence." --temperature 0.7 --top-p 0.9
  echo "What is a wick?" | wick chat --model DIR --chat-template chatml)";

}  // namespace

void add_chat_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model on the terminal");
  command->footer(kFooter);
  flags->model.add_to(*command);
  flags->model.add_compute_dtype_to(*command);
  flags->model.add_tokenizer_to(*command);
  flags->generate.add_to(*command);
  command->callback([flags, &session] { session.exit_code = Chat(*flags).run(); });
}

}  // namespace wick::cli
