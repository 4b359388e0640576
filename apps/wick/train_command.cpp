#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.hpp"
#include "base/platform.hpp"
#include "command.hpp"
#include "output.hpp"
#include "report.hpp"
#include "run_log.hpp"
#include "train_flags.hpp"
#include "train_output.hpp"
#include "train_ranks.hpp"
#include "train_samples.hpp"
#include "wick/runtime/memory.hpp"

namespace wick::cli {

namespace {

using detail::Json;

[[noreturn]] void fail(const std::string& rule, std::string hint = {}) {
  throw Error(ErrorKind::kArgument, "train", rule, {}, std::move(hint));
}

std::shared_ptr<CausalLm> make_model(const TrainFlags& flags) {
  const Device device = parse_device(flags.device);
  const std::optional<DType> compute_dtype = parse_dtype(flags.compute_dtype);
  if (!flags.init_from_config.empty()) {
    const ModelConfig config = parse_model_config(detail::read_text_file(flags.init_from_config),
                                                  flags.init_from_config.string());
    return CausalLm::create(config, flags.options.seed, device,
                            compute_dtype.value_or(DType::kF32));
  }
  LoadOptions options{
      .device = device, .dtype = parse_dtype(flags.dtype), .compute_dtype = compute_dtype};
  if (flags.is_full()) options.dtype = DType::kF32;
  return CausalLm::load(flags.model, options);
}

std::shared_ptr<LoraAdapter> make_adapter(const TrainFlags& flags, CausalLm& model) {
  if (flags.is_full()) return nullptr;
  const LoraHost host = model.lora_host();
  const std::int64_t layers = model.config().num_hidden_layers;
  auto adapter = flags.adapter.empty()
                     ? LoraAdapter::create(flags.lora_config(layers), host, flags.options.seed)
                     : LoraAdapter::load(flags.adapter, host);
  model.add_adapter("default", adapter);
  model.set_active_adapters({{"default"}});
  return adapter;
}

// What is read before the model, so that a wrong path costs no time.
struct DataSource {
  std::filesystem::path train;
  std::filesystem::path eval;
  std::optional<ChatTemplate> chat_template;
  bool template_for_prompts = false;
};

DataSource find_data(const TrainFlags& flags) {
  const DataFiles files = find_data_files(flags.data);
  DataSource source{.train = files.train,
                    .eval = flags.eval_data.empty() ? files.valid : flags.eval_data};
  if (flags.chat_template != "auto") {
    source.chat_template = ChatTemplate::named(flags.chat_template);
    source.template_for_prompts = true;
  } else if (is_conversation(files.train)) {
    source.chat_template = ChatTemplate::of_model(folder_of_tokenizer(flags.tokenizer_path()));
  }
  const bool wants_eval = flags.options.eval_steps > 0 || flags.options.load_best_model_at_end ||
                          flags.options.early_stopping_patience > 0;
  if (source.eval.empty() && wants_eval) {
    fail("--eval-steps, --load-best-model-at-end and --early-stopping-patience need held-out data",
         "--eval-data FILE, or valid.jsonl in the folder of --data");
  }
  return source;
}

struct Data {
  Dataset train;
  Dataset eval;
};

Data load_data(const TrainFlags& flags, const DataSource& source, const Tokenizer& tokenizer,
               const ModelConfig& config, std::int64_t max_seq_length) {
  DatasetOptions options{.max_seq_length = max_seq_length,
                         .mask = flags.mask(),
                         .chat_template = source.chat_template,
                         .template_for_prompts = source.template_for_prompts};
  if (!config.eos_token_ids.empty()) {
    options.eos_token_id = static_cast<std::int32_t>(config.eos_token_ids[0]);
  }
  Data data{.train = Dataset::from_file(source.train, tokenizer, options)};
  if (!source.eval.empty()) data.eval = Dataset::from_file(source.eval, tokenizer, options);
  return data;
}

std::string end_name(TrainResult::End end) {
  switch (end) {
    case TrainResult::End::kFinished:
      return "finished";
    case TrainResult::End::kEarlyStopping:
      return "stopped early";
    case TrainResult::End::kStopped:
      return "interrupted";
  }
  return {};
}

class TrainRun {
 public:
  TrainRun(const TrainFlags& flags, const std::optional<RankOptions>& rank)
      : flags_(flags),
        rank_(rank),
        is_first_(!rank || rank->rank == 0),
        log_({.output_dir = flags.output_dir,
              .logging_steps = flags.logging_steps,
              .device = parse_device(flags.device),
              .is_quiet = !is_first_,
              .json = flags.json}) {}

  int run() {
    TrainerOptions options = flags_.trainer_options();
    const DataSource source = find_data(flags_);
    if (is_first_) check_output_folder(flags_);
    const auto checkpoint = find_checkpoint();
    const Tokenizer tokenizer = Tokenizer::from_file(flags_.tokenizer_path());
    set_threads();
    meet_ranks(options);
    model_ = make_model(flags_);
    adapter_ = make_adapter(flags_, *model_);
    const std::int64_t mapped =
        std::max<std::int64_t>(0, model_->num_bytes() - memory_stats(model_->device()).live_bytes);
    check_vocabulary(tokenizer);
    describe();
    options.batches.max_seq_length =
        fitting_length(options.batches.max_seq_length, model_->config());
    Data data =
        load_data(flags_, source, tokenizer, model_->config(), options.batches.max_seq_length);
    describe(data, options.batches.max_seq_length);
    Trainer trainer(model_, adapter_, std::move(data.train), std::move(data.eval), options);
    log_.say("memory forecast: " + to_string(trainer.forecast()));
    SampleTaker samples(flags_.sample_prompts, flags_.sample_tokens, source.chat_template);
    if (is_first_) samples.take_before(*model_, tokenizer);
    if (checkpoint) {
      trainer.resume(*checkpoint);
      log_.say(fmt::format("resuming from {} at step {}", checkpoint->string(), trainer.steps()));
    }
    if (flags_.overwrite_output_dir && is_first_) clear_output_folder(flags_.output_dir);
    reset_peak_memory(model_->device());
    const std::optional<TrainResult> result = train(trainer);
    if (!result) return kFailure;
    const std::int64_t tensors = mapped + memory_stats(model_->device()).peak_bytes;
    const bool is_whole = result->end != TrainResult::End::kStopped;
    if (!is_first_) return is_whole ? kSuccess : kInterrupted;
    if (is_whole) {
      if (flags_.is_full()) copy_model_companions(flags_);
      samples.take_after(*model_, tokenizer);
    }
    finish(trainer, *result, samples.records(), tensors);
    return is_whole ? kSuccess : kInterrupted;
  }

 private:
  // Ranks of one host share its processors.
  void set_threads() const {
    apply_num_threads(flags_.num_threads);
    if (!rank_ || flags_.num_threads > 0) return;
    set_num_threads(std::max(1, num_threads() / rank_->size));
  }

  void meet_ranks(TrainerOptions& options) const {
    if (!rank_) return;
    RankOptions place = *rank_;
    place.timeout_s = flags_.ddp_timeout;
    options.ranks = make_communicator(place, parse_device(flags_.device));
    options.gradient_accumulation_steps *= place.size;
  }

  std::optional<std::filesystem::path> find_checkpoint() const {
    if (flags_.resume.empty()) return std::nullopt;
    if (flags_.resume != "latest") return flags_.resume;
    auto latest = Trainer::latest_checkpoint(flags_.output_dir);
    if (!latest) fail(flags_.output_dir.string() + " has no checkpoint to resume from");
    return latest;
  }

  void check_vocabulary(const Tokenizer& tokenizer) const {
    if (tokenizer.vocab_size() <= model_->config().vocab_size) return;
    fail(fmt::format("the tokenizer has {} tokens, the model {}", tokenizer.vocab_size(),
                     model_->config().vocab_size));
  }

  void describe() {
    const ModelConfig& config = model_->config();
    log_.say(fmt::format("model: {}, {} layers of {}, {:.2f} M parameters, computed in {}",
                         config.model_type, config.num_hidden_layers, config.hidden_size,
                         static_cast<double>(model_->num_parameters()) / 1e6,
                         to_string(model_->compute_dtype())));
    if (adapter_ == nullptr) return;
    log_.say(fmt::format("adapter: {} layers, {:.3f} M parameters ({:.2f} %)",
                         adapter_->layers().size(),
                         static_cast<double>(adapter_->num_parameters()) / 1e6,
                         100.0 * static_cast<double>(adapter_->num_parameters()) /
                             static_cast<double>(model_->num_parameters())));
    for (const std::string& name : adapter_->unmatched()) {
      log_.warn("warning: target module " + name + " names no layer of this model");
    }
  }

  void describe(const Data& data, std::int64_t max_seq_length) {
    log_.say(fmt::format("data: {} samples, {} tokens, {} of them targets; {} samples held out",
                         data.train.size(), data.train.num_tokens(), data.train.num_targets(),
                         data.eval.size()));
    const std::int64_t cut = data.train.num_truncated() + data.eval.num_truncated();
    if (cut == 0) return;
    log_.warn(fmt::format("warning: {} samples were longer than {} tokens and were cut", cut,
                          max_seq_length));
  }

  // Nothing when training itself failed: a loss that is no number is not a wrong flag.
  std::optional<TrainResult> train(Trainer& trainer) {
    bool has_begun = false;
    watch_interrupts();
    try {
      return trainer.run(
          {.on_start =
               [&](std::int64_t total) {
                 log_.start(total, trainer.steps());
                 has_begun = true;
               },
           .on_step = [this](const StepReport& report) { log_.step(report); },
           .on_evaluate = [this](const EvalReport& report) { log_.evaluation(report); },
           .on_save = [this](const std::filesystem::path& path) { log_.saved(path); },
           .on_out_of_memory =
               [this](const Error& error, const MemoryForecast& forecast) {
                 log_.warn(fmt::format("{}\nthe step is computed again; memory forecast: {}",
                                       error.what(), to_string(forecast)));
               },
           .should_stop = is_interrupted});
    } catch (const Error& error) {
      if (!has_begun || error.kind() != ErrorKind::kArgument) throw;
      const std::string text = std::string("wick: ") + error.what();
      if (is_first_) log_.warn(text);
      if (!is_first_) print_note(text + "\n");
      return std::nullopt;
    }
  }

  Report::Rows summary_of(const Trainer& trainer, const TrainResult& result,
                          std::int64_t tensors) const {
    Report::Rows rows;
    rows.emplace_back("run", end_name(result.end));
    rows.emplace_back("steps", fmt::format("{} of {}", result.steps, trainer.total_steps()));
    if (!log_.steps().empty()) {
      rows.emplace_back("training loss", fmt::format("{:.4f}", log_.steps().back().loss));
    }
    if (result.best_eval) {
      rows.emplace_back(
          "best held-out loss",
          fmt::format("{:.4f} at step {}", result.best_eval->loss, result.best_eval->step));
    }
    rows.emplace_back("throughput", fmt::format("{:.0f} tokens/s", log_.tokens_per_second()));
    rows.emplace_back("time", readable_seconds(log_.seconds()));
    rows.emplace_back("tensors at their peak",
                      fmt::format("{} (forecast {})", readable_bytes(tensors),
                                  readable_bytes(trainer.forecast().total())));
    rows.emplace_back("peak memory of the process", readable_bytes(peak_memory_bytes()));
    if (adapter_ != nullptr) rows.emplace_back("adapter", readable_bytes(adapter_->num_bytes()));
    return rows;
  }

  void emit_end(const Trainer& trainer, const TrainResult& result, std::int64_t tensors,
                const std::vector<SampleRecord>& samples) const {
    Json end{{"event", "end"},
             {"end", end_name(result.end)},
             {"steps", result.steps},
             {"tokens_per_second", log_.tokens_per_second()},
             {"peak_memory_bytes", peak_memory_bytes()},
             {"peak_tensor_bytes", tensors},
             {"forecast_bytes", trainer.forecast().total()},
             {"output_dir", flags_.output_dir.string()},
             {"report", (flags_.output_dir / "report.html").string()},
             {"samples", Json::array()}};
    if (!log_.steps().empty()) end["loss"] = log_.steps().back().loss;
    if (result.best_eval) end["best_eval_loss"] = result.best_eval->loss;
    for (const SampleRecord& sample : samples) {
      end["samples"].push_back(
          {{"prompt", sample.prompt}, {"before", sample.before}, {"after", sample.after}});
    }
    log_.emit(end);
  }

  void finish(const Trainer& trainer, const TrainResult& result,
              const std::vector<SampleRecord>& samples, std::int64_t tensors) {
    const bool is_whole = result.end != TrainResult::End::kStopped;
    const std::string name =
        flags_.model.empty() ? model_->config().model_type
                             : std::filesystem::weakly_canonical(flags_.model).filename().string();
    const Report report{.title = name,
                        .summary = summary_of(trainer, result, tensors),
                        .steps = log_.steps(),
                        .evaluations = log_.evaluations(),
                        .samples = is_whole ? samples : std::vector<SampleRecord>{},
                        .memory_forecast = trainer.forecast().total(),
                        .settings = flags_.settings(),
                        .commands = is_whole ? next_commands(flags_)
                                             : std::vector<std::string>{resume_command(flags_)}};
    write_report(flags_.output_dir / "report.html", report);
    emit_end(trainer, result, tensors, report.samples);
    for (const SampleRecord& sample : report.samples) {
      log_.say(fmt::format("\n{}\n  before: {}\n  after:  {}", sample.prompt, sample.before,
                           sample.after));
    }
    log_.say("");
    for (const auto& [key, value] : report.summary) log_.say(fmt::format("{:<27} {}", key, value));
    if (is_whole) log_.say(fmt::format("{:<27} {}", "result", flags_.output_dir.string()));
    log_.say(fmt::format("{:<27} {}", "report", (flags_.output_dir / "report.html").string()));
    if (!is_whole && result.steps == 0) return;  // there is nothing to resume
    log_.say(is_whole ? "\nTry next:" : "\nTo go on:");
    for (const std::string& command : report.commands) log_.say("  " + command);
  }

  const TrainFlags& flags_;
  std::optional<RankOptions> rank_;  // nothing: this process alone
  bool is_first_;
  std::shared_ptr<CausalLm> model_;
  std::shared_ptr<LoraAdapter> adapter_;
  RunLog log_;
};

// One process of a run, or the one that starts the others.
int run_train(TrainFlags& flags, const std::vector<std::string>& command_line) {
  flags.check();
  const std::optional<RankOptions> rank = rank_from_environment();
  if (rank) {
    detail::die_with_parent();
    flags.device = to_string(device_of_rank(flags, *rank));
  } else if (!flags.devices.empty()) {
    const std::vector<Device> devices = parse_devices(flags.devices);
    if (devices.size() > 1) {
      find_data(flags);
      check_output_folder(flags);
      return run_ranks(flags, devices, command_line);
    }
    flags.device = to_string(devices[0]);
  }
  return TrainRun(flags, rank).run();
}

constexpr const char* kFooter =
    R"(Data is JSON lines of {"text"}, {"prompt","completion"} or {"messages"}, or plain text. The result in --output-dir is
an adapter in PEFT's format (or a whole model), with metrics.jsonl and report.html beside it.

Examples:
  wick train --model DIR --data chats.jsonl --output-dir my-adapter
  wick train --model DIR --data DIR --target-modules all-linear --r 16 --lora-alpha 32 --eval-steps 50
  wick train --config job.yaml --learning-rate 2e-4
  wick train --model DIR --data DIR --output-dir my-adapter --resume
  wick train --model DIR --data DIR --devices cuda:0,1

Ctrl-C saves a checkpoint and ends; a second one ends at once.)";

}  // namespace

void add_train_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train", "Fine-tune a model, or train a new one");
  command->footer(kFooter);
  flags->add_to(*command);
  command->callback(
      [flags, &session] { session.exit_code = run_train(*flags, session.command_line); });
}

}  // namespace wick::cli
