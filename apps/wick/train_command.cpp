#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/json.hpp"
#include "command.hpp"
#include "report.hpp"
#include "run_log.hpp"
#include "train_flags.hpp"

namespace wick::cli {

namespace {

using detail::Json;

volatile std::sig_atomic_t interrupts = 0;

// The first interrupt asks the run to save and end; the second ends the process at once.
void on_interrupt(int) {
  interrupts = interrupts + 1;
  if (interrupts > 1) std::_Exit(kInterrupted);
}

[[noreturn]] void fail(const std::string& rule, std::string hint = {}) {
  throw Error(ErrorKind::kArgument, "train", rule, {}, std::move(hint));
}

std::filesystem::path tokenizer_folder(const TrainFlags& flags) {
  if (!flags.tokenizer.empty()) return flags.tokenizer;
  return flags.init_from_config.empty() ? flags.model : flags.init_from_config.parent_path();
}

std::shared_ptr<CausalLm> make_model(const TrainFlags& flags) {
  const Device device = parse_device(flags.device);
  if (flags.num_threads > 0) set_num_threads(flags.num_threads);
  if (flags.model.empty() == flags.init_from_config.empty()) {
    fail("one of --model and --init-from-config is needed");
  }
  if (!flags.init_from_config.empty()) {
    if (!flags.is_full()) fail("a new model is trained in full: add --fine-tune-type full");
    const ModelConfig config = parse_model_config(detail::read_text_file(flags.init_from_config),
                                                  flags.init_from_config.string());
    return CausalLm::create(config, flags.options.seed, device);
  }
  LoadOptions options{.device = device, .dtype = parse_dtype(flags.dtype)};
  if (flags.is_full()) options.dtype = DType::kF32;
  return CausalLm::load(flags.model, options);
}

std::shared_ptr<LoraAdapter> make_adapter(const TrainFlags& flags, CausalLm& model) {
  if (flags.is_full()) return nullptr;
  const LoraHost host = model.lora_host();
  std::shared_ptr<LoraAdapter> adapter =
      flags.adapter.empty() ? LoraAdapter::create(flags.lora_config(), host, flags.options.seed)
                            : LoraAdapter::load(flags.adapter, host);
  model.add_adapter("default", adapter);
  model.set_active_adapters({{"default"}});
  return adapter;
}

DatasetOptions dataset_options(const TrainFlags& flags, const ModelConfig& config) {
  DatasetOptions options{.max_seq_length = flags.options.batches.max_seq_length,
                         .mask = flags.mask()};
  if (flags.chat_template != "auto") {
    options.chat_template = ChatTemplate::named(flags.chat_template);
    options.template_for_prompts = true;
  }
  if (!config.eos_token_ids.empty()) {
    options.eos_token_id = static_cast<std::int32_t>(config.eos_token_ids[0]);
  }
  return options;
}

struct Data {
  Dataset train;
  Dataset eval;
};

Data load_data(const TrainFlags& flags, const Tokenizer& tokenizer, const ModelConfig& config,
               RunLog& log) {
  const DataFiles files = find_data_files(flags.data);
  DatasetOptions options = dataset_options(flags, config);
  if (flags.chat_template == "auto" && is_conversation(files.train)) {
    options.chat_template = ChatTemplate::of_model(tokenizer_folder(flags));
  }
  Data data{.train = Dataset::from_file(files.train, tokenizer, options)};
  const std::filesystem::path held_out = flags.eval_data.empty() ? files.valid : flags.eval_data;
  if (!held_out.empty()) data.eval = Dataset::from_file(held_out, tokenizer, options);
  log.say(fmt::format("data: {} samples, {} tokens, {} of them targets; {} held out",
                      data.train.size(), data.train.num_tokens(), data.train.num_targets(),
                      data.eval.size()));
  if (data.train.num_truncated() > 0) {
    log.say(fmt::format("{} samples were longer than {} tokens and were cut",
                        data.train.num_truncated(), options.max_seq_length));
  }
  return data;
}

// Continues the prompts of --sample-prompt; `after` says which side of the record they are.
void take_samples(const TrainFlags& flags, const CausalLm& model, const Tokenizer& tokenizer,
                  std::vector<SampleRecord>& samples, bool after) {
  if (flags.sample_prompts.empty()) return;
  GenerateOptions options;
  options.max_new_tokens = flags.sample_tokens;
  options.stop = {"\n"};
  samples.resize(flags.sample_prompts.size());
  const std::vector<Generation> texts = generate(model, tokenizer, flags.sample_prompts, options);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i].prompt = flags.sample_prompts[i];
    (after ? samples[i].after : samples[i].before) = texts[i].text;
  }
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
  explicit TrainRun(const TrainFlags& flags)
      : flags_(flags),
        checkpoint_(find_checkpoint()),
        log_({.output_dir = flags.output_dir,
              .logging_steps = flags.logging_steps,
              .resumed_step = resumed_step(),
              .json = flags.json}) {}

  int run() {
    const auto model = make_model(flags_);
    const auto adapter = make_adapter(flags_, *model);
    const Tokenizer tokenizer = Tokenizer::from_file(tokenizer_folder(flags_));
    check_vocabulary(tokenizer, *model);
    describe(*model, adapter.get());
    Data data = load_data(flags_, tokenizer, model->config(), log_);
    Trainer trainer(model, adapter, std::move(data.train), std::move(data.eval),
                    flags_.trainer_options());
    log_.say("memory forecast: " + to_string(trainer.forecast()));
    std::vector<SampleRecord> samples;
    take_samples(flags_, *model, tokenizer, samples, false);
    if (checkpoint_) {
      trainer.resume(*checkpoint_);
      log_.say(fmt::format("resuming from {} at step {}", checkpoint_->string(), trainer.steps()));
    }
    const TrainResult result = trainer.run(events());
    take_samples(flags_, *model, tokenizer, samples, true);
    finish(*model, adapter.get(), trainer, result, samples);
    return result.end == TrainResult::End::kStopped ? kInterrupted : kSuccess;
  }

 private:
  std::optional<std::filesystem::path> find_checkpoint() const {
    if (flags_.resume.empty()) return std::nullopt;
    if (flags_.resume != "latest") return flags_.resume;
    auto latest = Trainer::latest_checkpoint(flags_.output_dir);
    if (!latest) fail(flags_.output_dir.string() + " has no checkpoint to resume from");
    return latest;
  }

  std::int64_t resumed_step() const {
    if (!checkpoint_) return 0;
    const std::filesystem::path path = *checkpoint_ / "trainer_state.json";
    const Json json = detail::read_json_file(path);
    return detail::JsonFields(json, path.string()).integer("global_step");
  }

  static void check_vocabulary(const Tokenizer& tokenizer, const CausalLm& model) {
    if (tokenizer.vocab_size() <= model.config().vocab_size) return;
    fail(fmt::format("the tokenizer has {} tokens, the model {}", tokenizer.vocab_size(),
                     model.config().vocab_size));
  }

  void describe(const CausalLm& model, const LoraAdapter* adapter) {
    const ModelConfig& config = model.config();
    log_.say(fmt::format("model: {}, {} layers of {}, {:.2f} M parameters", config.model_type,
                         config.num_hidden_layers, config.hidden_size,
                         static_cast<double>(model.num_parameters()) / 1e6));
    if (adapter == nullptr) return;
    log_.say(fmt::format("adapter: {} layers, {:.3f} M parameters ({:.2f} %)",
                         adapter->layers().size(),
                         static_cast<double>(adapter->num_parameters()) / 1e6,
                         100.0 * static_cast<double>(adapter->num_parameters()) /
                             static_cast<double>(model.num_parameters())));
    for (const std::string& name : adapter->unmatched()) {
      log_.say("warning: target module " + name + " names no layer of this model");
    }
  }

  TrainerEvents events() {
    interrupts = 0;
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
    return {.on_start = [this](std::int64_t total) { log_.start(total); },
            .on_step = [this](const StepReport& report) { log_.step(report); },
            .on_evaluate = [this](const EvalReport& report) { log_.evaluation(report); },
            .on_save = [this](const std::filesystem::path& path) { log_.saved(path); },
            .should_stop = [] { return interrupts > 0; }};
  }

  void finish(const CausalLm& model, const LoraAdapter* adapter, const Trainer& trainer,
              const TrainResult& result, const std::vector<SampleRecord>& samples) {
    const std::int64_t peak = peak_memory_bytes();
    Report report{.title = flags_.is_full() && flags_.model.empty()
                               ? model.config().model_type
                               : model.folder().filename().string(),
                  .steps = log_.steps(),
                  .evaluations = log_.evaluations(),
                  .samples = samples};
    const auto row = [&](const std::string& name, std::string value) {
      report.summary.emplace_back(name, std::move(value));
    };
    row("run", fmt::format("{} after {} of {} steps", end_name(result.end), result.steps,
                           trainer.total_steps()));
    row("training loss", fmt::format("{:.4f}", result.last_loss));
    if (result.best_eval) {
      row("best held-out loss",
          fmt::format("{:.4f} at step {}", result.best_eval->loss, result.best_eval->step));
    }
    row("throughput", fmt::format("{:.0f} tokens/s", log_.tokens_per_second()));
    row("time", readable_seconds(log_.seconds()));
    row("peak memory", fmt::format("{} (forecast {})", readable_bytes(peak),
                                   readable_bytes(trainer.forecast().total())));
    if (adapter != nullptr) row("adapter", readable_bytes(adapter->num_bytes()));
    const std::filesystem::path path = flags_.output_dir / "report.html";
    write_report(path, report);
    for (const auto& [name, value] : report.summary) log_.say(name + ": " + value);
    log_.say("result: " + flags_.output_dir.string() + ", report: " + path.string());
    Json summary{{"event", "end"},
                 {"end", end_name(result.end)},
                 {"steps", result.steps},
                 {"loss", result.last_loss},
                 {"tokens_per_second", log_.tokens_per_second()},
                 {"peak_memory_bytes", peak},
                 {"forecast_bytes", trainer.forecast().total()},
                 {"output_dir", flags_.output_dir.string()},
                 {"report", path.string()}};
    if (result.best_eval) summary["best_eval_loss"] = result.best_eval->loss;
    log_.emit(summary.dump());
  }

  const TrainFlags& flags_;
  std::optional<std::filesystem::path> checkpoint_;
  RunLog log_;
};

}  // namespace

void add_train_command(CLI::App& app, Session& session) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train", "Fine-tune a model, or train a new one");
  command->footer(
      "Data: JSON lines of {\"text\"}, {\"prompt\",\"completion\"} or {\"messages\"}, or plain "
      "text.\nThe result is a PEFT adapter (or a whole model) in --output-dir.");
  flags->add_to(*command);
  command->callback([flags, &session] { session.exit_code = TrainRun(*flags).run(); });
}

}  // namespace wick::cli
