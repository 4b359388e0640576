#include <fmt/format.h>

#include <iostream>
#include <iterator>

#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"
#include "train_samples.hpp"

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
  for (std::string& prompt : prompts) {
    if (prompt != "-") continue;
    prompt.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  if (!flags.prompt_file.empty()) {
    LineReader lines(flags.prompt_file);
    while (const auto line = lines.next()) {
      if (!line->text.empty()) prompts.emplace_back(line->text);
    }
    if (prompts.empty()) {
      throw Error(ErrorKind::kParse, flags.prompt_file.string(), "holds no prompt");
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
  const ChatTemplate how =
      choose_template(flags.generate.chat_template, flags.model.template_folder());
  for (const std::string& prompt : prompts) {
    encoded.push_back(encode_user_message(tokenizer, how, flags.generate.system_prompt, prompt,
                                          options.stop_tokens));
  }
  return encoded;
}

void print_results(const Flags& flags, const std::vector<std::string>& prompts,
                   const std::vector<Generation>& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (flags.json) {
      print_out(json_line(Json{{"prompt", prompts[i]},
                               {"text", texts[i].text},
                               {"ids", texts[i].ids},
                               {"finish_reason", to_string(texts[i].reason)},
                               {"num_prompt_tokens", texts[i].num_prompt_tokens}}));
    } else {
      print_out(fmt::format("=== {}\n{}\n", prompts[i], texts[i].text));
    }
  }
}

void print_stats(const GenerateStats& stats) {
  const auto rate = [](std::int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  };
  print_note(fmt::format(
      "prompt: {} tokens, {:.1f} tokens/s; generated: {} tokens, {:.1f} tokens/s\n",
      stats.num_prompt_tokens, rate(stats.num_prompt_tokens, stats.prefill_seconds),
      stats.num_generated_tokens, rate(stats.num_generated_tokens, stats.decode_seconds)));
}

int run_generate(const Flags& flags) {
  GenerateOptions options = flags.generate.options;
  options.sampling.check();
  const std::vector<std::string> prompts = read_prompts(flags);
  const Tokenizer tokenizer = flags.model.load_tokenizer();
  const auto encoded = encode_prompts(flags, tokenizer, prompts, options);
  const auto model = flags.model.load_causal_lm();
  // One sequence is shown while it grows; several would mix.
  const bool streams = prompts.size() == 1 && !flags.json;
  watch_interrupts();
  const auto on_text = [&](std::int64_t, std::string_view text) {
    if (streams) {
      print_out(text);
      flush_out();
    }
    return !is_interrupted();
  };
  GenerateStats stats;
  const auto texts = generate_from_ids(*model, tokenizer, encoded, options, on_text, &stats);
  if (streams) {
    print_out("\n");
  } else {
    print_results(flags, prompts, texts);
  }
  if (flags.stats) print_stats(stats);
  return is_interrupted() ? kInterrupted : kSuccess;
}

constexpr const char* kFooter = R"(Examples:
  wick generate --model DIR --prompt "Once upon a time"
  wick generate --model DIR --adapter my-adapter --chat --prompt "What is a wick?" --temperature 0.7
  wick generate --model DIR --prompt-file prompts.txt --json > texts.jsonl
  wick generate --model DIR --adapter one=0.5,two=0.5 --prompt "Dear" --stop "." --stats)";

}  // namespace

void add_generate_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("generate", "Continue prompts");
  command->footer(kFooter);
  flags->model.add_to(*command);
  flags->model.add_compute_dtype_to(*command);
  flags->model.add_tokenizer_to(*command);
  command->add_option("--prompt,-p", flags->prompts,
                      "Text to go on from, - for standard input; may be repeated");
  command->add_option("--prompt-file,-f", flags->prompt_file, "File with one prompt a line");
  command->add_flag("--chat", flags->chat, "Prompts are a user's messages");
  flags->generate.add_to(*command);
  command->add_flag("--stats", flags->stats, "Print tokens per second");
  command->add_flag("--json", flags->json, "Print one JSON object a prompt");
  command->callback([flags, &session] { session.exit_code = run_generate(*flags); });
}

}  // namespace wick::cli
