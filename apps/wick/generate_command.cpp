#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "base/json.hpp"
#include "command.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct Flags {
  ModelFlags model;
  GenerateFlags generate;
  std::vector<std::string> prompts;
  std::filesystem::path prompt_file;
  bool chat = false;
  bool stats = false;
  bool json = false;
};

std::vector<std::string> read_prompts(const Flags& flags) {
  std::vector<std::string> prompts = flags.prompts;
  if (!flags.prompt_file.empty()) {
    LineReader lines(flags.prompt_file);
    while (const auto line = lines.next()) {
      if (!line->text.empty()) prompts.emplace_back(line->text);
    }
  }
  if (prompts.empty()) {
    throw Error(ErrorKind::kArgument, "generate", "--prompt or --prompt-file is needed");
  }
  return prompts;
}

// With --chat a prompt is a user's turn in the model's own way of writing; otherwise it is text to go on from.
std::vector<std::vector<std::int32_t>> encode_prompts(const Flags& flags,
                                                      const Tokenizer& tokenizer,
                                                      const std::vector<std::string>& prompts,
                                                      GenerateOptions& options) {
  std::vector<std::vector<std::int32_t>> encoded;
  if (!flags.chat) {
    for (const std::string& prompt : prompts) encoded.push_back(tokenizer.encode(prompt));
    return encoded;
  }
  const ChatTemplate how = choose_template(flags.generate.chat_template, flags.model.model);
  for (const std::string& name : how.stop_tokens()) {
    if (const auto id = tokenizer.token_to_id(name)) options.stop_tokens.push_back(*id);
  }
  for (const std::string& prompt : prompts) {
    std::vector<ChatMessage> messages;
    if (!flags.generate.system_prompt.empty()) {
      messages.push_back({"system", flags.generate.system_prompt});
    }
    messages.push_back({"user", prompt});
    encoded.push_back(encode_chat(tokenizer, how.render(messages, true)));
  }
  return encoded;
}

int run_generate(const Flags& flags) {
  const std::vector<std::string> prompts = read_prompts(flags);
  GenerateOptions options = flags.generate.options;
  options.sampling.check();
  const Tokenizer tokenizer = Tokenizer::from_file(flags.model.model);
  const auto encoded = encode_prompts(flags, tokenizer, prompts, options);
  const auto model = flags.model.load_causal_lm();
  // One sequence is shown while it grows; several would mix.
  const bool streams = prompts.size() == 1 && !flags.json;
  TextCallback on_text;
  if (streams) {
    on_text = [](std::int64_t, std::string_view text) {
      fmt::print("{}", text);
      std::fflush(stdout);
      return true;
    };
  }
  GenerateStats stats;
  const auto texts = generate_from_ids(*model, tokenizer, encoded, options, on_text, &stats);
  if (streams) fmt::print("\n");
  for (std::size_t i = 0; i < texts.size() && !streams; ++i) {
    if (flags.json) {
      fmt::print("{}\n", Json{{"prompt", prompts[i]},
                              {"text", texts[i].text},
                              {"ids", texts[i].ids},
                              {"finish_reason", to_string(texts[i].reason)},
                              {"num_prompt_tokens", texts[i].num_prompt_tokens}}
                             .dump());
    } else {
      fmt::print("=== {}\n{}\n", prompts[i], texts[i].text);
    }
  }
  if (flags.stats) {
    const auto rate = [](std::int64_t tokens, double seconds) {
      return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
    };
    fmt::print(stderr,
               "prompt: {} tokens, {:.1f} tokens/s; generated: {} tokens, {:.1f} tokens/s\n",
               stats.num_prompt_tokens, rate(stats.num_prompt_tokens, stats.prefill_seconds),
               stats.num_generated_tokens, rate(stats.num_generated_tokens, stats.decode_seconds));
  }
  return kSuccess;
}

volatile std::sig_atomic_t cancelled = 0;

void on_cancel(int) { cancelled = 1; }

int run_chat(const ModelFlags& model_flags, const GenerateFlags& flags) {
  flags.options.sampling.check();
  const Tokenizer tokenizer = Tokenizer::from_file(model_flags.model);
  const ChatTemplate how = choose_template(flags.chat_template, model_flags.model);
  const auto model = model_flags.load_causal_lm();
  ChatSession session(
      model, tokenizer, how,
      {.generate = flags.options, .system_prompt = flags.system_prompt, .drop_oldest_turns = true});
  std::signal(SIGINT, on_cancel);
  fmt::print(stderr, "Type a message; /reset begins anew, an empty line or Ctrl-D ends.\n");
  std::string line;
  while (fmt::print(stderr, "> "), std::getline(std::cin, line) && !line.empty()) {
    if (line == "/reset") {
      session.reset();
      continue;
    }
    cancelled = 0;
    session.reply(line, [](std::string_view text) {
      fmt::print("{}", text);
      std::fflush(stdout);
      return cancelled == 0;
    });
    fmt::print("\n");
  }
  return kSuccess;
}

}  // namespace

void add_generate_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("generate", "Continue prompts");
  flags->model.add_to(*command);
  flags->generate.add_to(*command);
  command->add_option("--prompt,-p", flags->prompts, "Text to go on from; may be repeated");
  command->add_option("--prompt-file,-f", flags->prompt_file, "File with one prompt a line");
  command->add_flag("--chat", flags->chat, "Prompts are a user's messages");
  command->add_flag("--stats", flags->stats, "Print tokens per second");
  command->add_flag("--json", flags->json, "Print one JSON object a prompt");
  command->callback([flags, &session] { session.exit_code = run_generate(*flags); });
}

void add_chat_command(CLI::App& app, Session& session) {
  auto model = std::make_shared<ModelFlags>();
  auto generate = std::make_shared<GenerateFlags>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model on the terminal");
  model->add_to(*command);
  generate->add_to(*command);
  command->callback(
      [model, generate, &session] { session.exit_code = run_chat(*model, *generate); });
}

}  // namespace wick::cli
