// Commands that run a model or write one: eval, embed, merge.

#include <fmt/format.h>

#include <cmath>

#include "base/json.hpp"
#include "command.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct EvalFlags {
  ModelFlags model;
  std::filesystem::path data;
  std::string chat_template = "auto";
  bool mask_nothing = false;
  BatchOptions batches{.batch_size = 4, .shuffle = false};
  bool json = false;
};

int run_eval(const EvalFlags& flags) {
  const auto model = flags.model.load_causal_lm();
  const Tokenizer tokenizer = Tokenizer::from_file(flags.model.model);
  DatasetOptions options{.max_seq_length = flags.batches.max_seq_length,
                         .mask = flags.mask_nothing ? LossMask::kAll : LossMask::kAuto};
  if (flags.chat_template != "auto") {
    options.chat_template = ChatTemplate::named(flags.chat_template);
    options.template_for_prompts = true;
  } else if (is_conversation(flags.data)) {
    options.chat_template = ChatTemplate::of_model(flags.model.model);
  }
  const auto& eos = model->config().eos_token_ids;
  if (!eos.empty()) options.eos_token_id = static_cast<std::int32_t>(eos[0]);
  const Dataset data = Dataset::from_file(flags.data, tokenizer, options);
  const EvalReport report = evaluate_loss(*model, data, flags.batches);
  const double perplexity = std::exp(report.loss);
  if (flags.json) {
    fmt::print("{}\n", Json{{"loss", report.loss},
                            {"perplexity", perplexity},
                            {"num_targets", report.num_targets},
                            {"num_samples", data.size()}}
                           .dump());
  } else {
    fmt::print("loss {:.6f}  perplexity {:.4f}  over {} tokens of {} samples\n", report.loss,
               perplexity, report.num_targets, data.size());
  }
  return kSuccess;
}

struct EmbedFlags {
  ModelFlags model;
  std::vector<std::string> texts;
  std::filesystem::path file;
  std::int64_t batch_size = 16;
};

std::vector<std::string> texts_of(const EmbedFlags& flags) {
  std::vector<std::string> texts = flags.texts;
  if (!flags.file.empty()) {
    LineReader lines(flags.file);
    while (const auto line = lines.next()) texts.emplace_back(line->text);
  }
  if (texts.empty()) throw Error(ErrorKind::kArgument, "embed", "--text or --file is needed");
  return texts;
}

// Embeddings of a few texts, padded on the right; longer ones are cut to what the model takes.
std::vector<float> embed_batch(const TextEncoder& model, const Tokenizer& tokenizer,
                               std::span<const std::string> texts) {
  const auto limit = static_cast<std::size_t>(model.config().max_position_embeddings);
  std::vector<std::vector<std::int32_t>> rows;
  std::size_t width = 1;
  for (const std::string& text : texts) {
    rows.push_back(tokenizer.encode(text));
    std::vector<std::int32_t>& row = rows.back();
    if (row.size() > limit) {
      const auto& suffix = tokenizer.suffix_ids();
      row.resize(limit - suffix.size());
      row.insert(row.end(), suffix.begin(), suffix.end());
    }
    width = std::max(width, row.size());
  }
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> kept;
  for (const auto& row : rows) {
    ids.insert(ids.end(), row.begin(), row.end());
    ids.resize(ids.size() + width - row.size(), 0);
    kept.insert(kept.end(), row.size(), 1);
    kept.resize(ids.size(), 0);
  }
  const Shape shape{static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(width)};
  const NoGradGuard no_gradient;
  const Tensor mask = cast(Tensor::from_values(kept, shape, model.device()), DType::kBool);
  return model.embed(Tensor::from_values(ids, shape, model.device()), mask).to_vector<float>();
}

int run_embed(const EmbedFlags& flags) {
  const std::vector<std::string> texts = texts_of(flags);
  if (flags.batch_size < 1) {
    throw Error(ErrorKind::kArgument, "embed", "--batch-size must be at least 1");
  }
  const auto model = TextEncoder::load(flags.model.model, flags.model.load_options());
  flags.model.attach_adapters(*model);
  const Tokenizer tokenizer = Tokenizer::from_file(flags.model.model);
  const auto width = static_cast<std::size_t>(model->config().hidden_size);
  for (std::size_t begin = 0; begin < texts.size();) {
    const std::size_t count =
        std::min(texts.size() - begin, static_cast<std::size_t>(flags.batch_size));
    const std::vector<float> values =
        embed_batch(*model, tokenizer, std::span(texts).subspan(begin, count));
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(i * width);
      const std::vector<float> embedding(row, row + static_cast<std::ptrdiff_t>(width));
      fmt::print("{}\n", Json{{"text", texts[begin + i]}, {"embedding", embedding}}.dump());
    }
    begin += count;
  }
  return kSuccess;
}

struct MergeFlags {
  ModelFlags model;
  std::filesystem::path output;
  std::string output_dtype = "auto";
  std::string shard_size = "5GiB";
};

int run_merge(const MergeFlags& flags) {
  if (flags.model.adapters.empty()) {
    throw Error(ErrorKind::kArgument, "merge", "--adapter is needed");
  }
  const auto model = flags.model.load_causal_lm();
  model->save_merged(flags.output, parse_dtype(flags.output_dtype), parse_bytes(flags.shard_size));
  fmt::print("merged {} into {}\n", flags.model.adapters, flags.output.string());
  return kSuccess;
}

}  // namespace

void add_eval_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Loss and perplexity on a data file");
  flags->model.add_to(*command);
  command->add_option("--data", flags->data, "A .jsonl or .txt file")->required();
  command->add_option("--batch-size", flags->batches.batch_size, "Rows of a batch")
      ->capture_default_str();
  command
      ->add_option("--max-seq-length,--max-length", flags->batches.max_seq_length,
                   "Longest sequence in tokens")
      ->capture_default_str();
  command->add_option("--chat-template", flags->chat_template, "As for wick train")
      ->capture_default_str();
  command->add_flag("--all-tokens", flags->mask_nothing, "Prompts count too");
  command->add_flag("--json", flags->json, "Print a JSON object");
  command->callback([flags, &session] { session.exit_code = run_eval(*flags); });
}

void add_embed_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<EmbedFlags>();
  CLI::App* command =
      app.add_subcommand("embed", "Sentence embeddings by a BERT-style encoder, as JSON lines");
  flags->model.add_to(*command);
  command->add_option("--text,-t", flags->texts, "A text; may be repeated");
  command->add_option("--file,-f", flags->file, "File with one text a line");
  command->add_option("--batch-size", flags->batch_size, "Texts computed together")
      ->capture_default_str();
  command->callback([flags, &session] { session.exit_code = run_embed(*flags); });
}

void add_merge_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<MergeFlags>();
  CLI::App* command =
      app.add_subcommand("merge", "Write a model with adapters added into its weights");
  flags->model.add_to(*command);
  command->add_option("--output,-o,--save-path", flags->output, "A folder that is not there yet")
      ->required();
  command
      ->add_option("--output-dtype", flags->output_dtype,
                   "f32, bf16 or f16; auto keeps what the model has")
      ->capture_default_str();
  command->add_option("--max-shard-size", flags->shard_size, "Largest weight file")
      ->capture_default_str();
  command->callback([flags, &session] { session.exit_code = run_merge(*flags); });
}

}  // namespace wick::cli
