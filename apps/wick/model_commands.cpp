// Commands that run a model or write one: eval, embed, merge.

#include <fmt/format.h>

#include <cmath>

#include "base/atomic_file.hpp"
#include "base/json.hpp"
#include "command.hpp"
#include "output.hpp"

namespace wick::cli {

namespace {

using detail::Json;

struct EvalFlags {
  ModelFlags model;
  std::filesystem::path data;
  std::string chat_template = "auto";
  std::string loss_mask = "auto";
  BatchOptions batches{.batch_size = 4, .shuffle = false};
  bool json = false;
};

// Of a folder the test split, or else the validation split.
std::filesystem::path held_out_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  const DataFiles files = find_data_files(path);
  if (files.test.empty() && files.valid.empty()) {
    throw Error(ErrorKind::kIo, path.string(), "has no test or valid file, .jsonl or .txt");
  }
  return files.test.empty() ? files.valid : files.test;
}

DatasetOptions dataset_options(const EvalFlags& flags, const std::filesystem::path& data) {
  DatasetOptions options{.max_seq_length = flags.batches.max_seq_length};
  if (flags.loss_mask == "all") options.mask = LossMask::kAll;
  if (flags.loss_mask == "last-turn") options.mask = LossMask::kLastTurn;
  if (flags.chat_template != "auto") {
    options.chat_template = ChatTemplate::named(flags.chat_template);
    options.template_for_prompts = true;
  } else if (is_conversation(data)) {
    options.chat_template = ChatTemplate::of_model(flags.model.template_folder());
  }
  return options;
}

int run_eval(const EvalFlags& flags) {
  const std::filesystem::path path = held_out_file(flags.data);
  DatasetOptions options = dataset_options(flags, path);
  const Tokenizer tokenizer = flags.model.load_tokenizer();
  const auto model = flags.model.load_causal_lm();
  options.max_seq_length = fitting_length(options.max_seq_length, model->config());
  const auto& eos = model->config().eos_token_ids;
  if (!eos.empty()) options.eos_token_id = static_cast<std::int32_t>(eos[0]);
  const Dataset data = Dataset::from_file(path, tokenizer, options);
  BatchOptions batches = flags.batches;
  batches.max_seq_length = options.max_seq_length;
  const EvalReport report = evaluate_loss(*model, data, batches);
  const double perplexity = std::exp(report.loss);
  if (flags.json) {
    print_out(json_line(Json{{"loss", report.loss},
                             {"perplexity", perplexity},
                             {"num_targets", report.num_targets},
                             {"num_samples", data.size()},
                             {"num_truncated", data.num_truncated()}}));
  } else {
    print_out(fmt::format("loss {:.6f}  perplexity {:.4f}  over {} tokens of {} samples\n",
                          report.loss, perplexity, report.num_targets, data.size()));
  }
  if (data.num_truncated() > 0) {
    print_note(fmt::format("warning: {} samples were longer than {} tokens and were cut\n",
                           data.num_truncated(), options.max_seq_length));
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
  const Tokenizer tokenizer = flags.model.load_tokenizer();
  const auto model = TextEncoder::load(flags.model.model, flags.model.load_options());
  flags.model.attach_adapters(*model);
  const auto width = static_cast<std::size_t>(model->config().hidden_size);
  for (std::size_t begin = 0; begin < texts.size();) {
    const std::size_t count =
        std::min(texts.size() - begin, static_cast<std::size_t>(flags.batch_size));
    const std::vector<float> values =
        embed_batch(*model, tokenizer, std::span(texts).subspan(begin, count));
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(i * width);
      const std::vector<float> embedding(row, row + static_cast<std::ptrdiff_t>(width));
      print_out(json_line(Json{{"text", texts[begin + i]}, {"embedding", embedding}}));
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

// Before a large model is read.
void check_output(const std::filesystem::path& folder) {
  std::error_code problem;
  if (std::filesystem::exists(folder, problem) && !std::filesystem::is_empty(folder, problem)) {
    throw Error(ErrorKind::kArgument, "merge",
                folder.string() + " exists and is not an empty folder; nothing is overwritten");
  }
  static_cast<void>(detail::AtomicFolder(folder));  // a folder beside it, made and removed
}

int run_merge(const MergeFlags& flags) {
  if (flags.model.adapters.empty()) {
    throw Error(ErrorKind::kArgument, "merge", "--adapter is needed");
  }
  const std::optional<DType> dtype = parse_dtype(flags.output_dtype);
  const std::int64_t shard_bytes = parse_bytes(flags.shard_size);
  check_output(flags.output);
  const auto model = flags.model.load_causal_lm();
  model->save_merged(flags.output, dtype, shard_bytes);
  print_out(fmt::format("merged {} into {}\n", flags.model.adapters, flags.output.string()));
  print_note("Try next:\n  " +
             shell_line({"wick", "generate", "--model", flags.output.string(), "--prompt",
                         "Once upon a time"}) +
             "\n");
  return kSuccess;
}

constexpr const char* kEvalFooter = R"(Examples:
  wick eval --model DIR --data valid.jsonl
  wick eval --model DIR --adapter my-adapter --data valid.jsonl --json)";

constexpr const char* kEmbedFooter = R"(Examples:
  wick embed --model DIR --text "A candle needs a wick." --text "Ships need masts."
  wick embed --model DIR --file sentences.txt > embeddings.jsonl)";

constexpr const char* kMergeFooter =
    R"(The result is a whole model in Hugging Face's layout, tokenizer included.

Examples:
  wick merge --model DIR --adapter my-adapter --output merged
  wick merge --model DIR --adapter one=0.5,two=0.5 --output merged --output-dtype bf16)";

}  // namespace

void add_eval_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Loss and perplexity on a data file");
  command->footer(kEvalFooter);
  flags->model.add_to(*command);
  flags->model.add_compute_dtype_to(*command);
  flags->model.add_tokenizer_to(*command);
  command
      ->add_option("--data", flags->data,
                   "A .jsonl or .txt file, or a folder with test.jsonl or valid.jsonl")
      ->required();
  command->add_option("--batch-size", flags->batches.batch_size, "Rows of a batch")
      ->capture_default_str();
  command
      ->add_option("--max-seq-length,--max-length", flags->batches.max_seq_length,
                   "Longest sequence in tokens")
      ->capture_default_str();
  command->add_option("--chat-template", flags->chat_template, "As for wick train")
      ->capture_default_str();
  command->add_option("--loss-mask", flags->loss_mask, "As for wick train: auto, all, last-turn")
      ->check(CLI::IsMember({"auto", "all", "last-turn"}))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object");
  command->callback([flags, &session] { session.exit_code = run_eval(*flags); });
}

void add_embed_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<EmbedFlags>();
  CLI::App* command =
      app.add_subcommand("embed", "Sentence embeddings by a BERT-style encoder, as JSON lines");
  command->footer(kEmbedFooter);
  flags->model.add_to(*command);
  flags->model.add_compute_dtype_to(*command);
  flags->model.add_tokenizer_to(*command);
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
  command->footer(kMergeFooter);
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
