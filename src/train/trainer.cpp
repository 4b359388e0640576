#include "wick/train/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

#include "base/atomic_file.hpp"
#include "runtime/refusal.hpp"
#include "train/checkpoints.hpp"
#include "train/evaluate_loss.hpp"
#include "train/out_of_memory.hpp"
#include "train/ranks.hpp"
#include "train/run_settings.hpp"
#include "train/trained_tensors.hpp"
#include "train/trainer_options.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/memory.hpp"

namespace wick {

namespace {

constexpr std::string_view kOptimizerFile = "optimizer.safetensors";
constexpr std::string_view kWeightsFile = "model.safetensors";
constexpr std::string_view kAdapterFile = "adapter_model.safetensors";

[[noreturn]] void refuse(const std::string& rule, std::string hint = {}) {
  throw Error(ErrorKind::kArgument, "train", rule, {}, std::move(hint));
}

}  // namespace

struct Trainer::Impl {
  std::shared_ptr<CausalLm> model;
  std::shared_ptr<LoraAdapter> adapter;
  Dataset train;
  Dataset eval;
  TrainerOptions options;
  std::int64_t total = 0;
  Schedule schedule;
  MemoryForecast forecast;
  std::unique_ptr<Optimizer> optimizer;
  detail::Json settings;
  detail::TrainerState state;
  std::filesystem::path last_checkpoint;  // empty before the first
  std::filesystem::path best_checkpoint;  // with load_best_model_at_end
  bool is_resumed = false;

  NamedTensors trained() const { return adapter ? adapter->tensors() : model->parameters(); }
  std::string_view trained_file() const { return adapter ? kAdapterFile : kWeightsFile; }
  // Rank 0 alone; the others keep up with what it has written.
  bool writes() const { return keeps() && detail::is_first(options.ranks.get()); }
  bool keeps() const { return !options.output_dir.empty(); }
  void wait_for_ranks() const {
    if (options.ranks) options.ranks->barrier();
  }
  void check_ranks() const;
  std::int64_t trained_elements() const;
  StepSize step_size() const;
  MemoryForecast make_forecast() const;
  ComputeOptions make_room(const Error& error, std::int64_t live_before,
                           const TrainerEvents& events);
  void prepare_output() const;
  std::filesystem::path find_best(const std::filesystem::path& checkpoint,
                                  const detail::TrainerState& resumed) const;
  void save_trained(const std::filesystem::path& folder) const;
  void save_checkpoint(const TrainerEvents& events);
  void save_result();
  std::optional<EvalReport> evaluate(const std::function<bool()>& should_stop) const;
  bool make_evaluation(const TrainerEvents& events, TrainResult& result);
  void note_evaluation(EvalReport& report, const TrainerEvents& events);
  void take_steps(const TrainerEvents& events, TrainResult& result);
  std::optional<StepReport> take_step(const EpochPlan& plan, const TrainerEvents& events);
  void advance(const StepReport& report, std::int64_t end, const EpochPlan& plan);
  bool out_of_patience() const;
  bool is_due(std::int64_t every) const { return every > 0 && state.global_step % every == 0; }
};

std::int64_t Trainer::Impl::trained_elements() const {
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : trained()) elements += tensor.numel();
  return elements;
}

StepSize Trainer::Impl::step_size() const {
  const BatchOptions& batches = options.batches;
  const std::int64_t ranks = options.ranks ? options.ranks->size() : 1;
  return {.batch_size = std::min(batches.batch_size, train.size()),
          .length = batches.packing ? batches.max_seq_length : train.max_length(),
          .micro_batches = (options.gradient_accumulation_steps + ranks - 1) / ranks};
}

MemoryForecast Trainer::Impl::make_forecast() const {
  return options.memory_budget > 0
             ? fit_memory(*model, trained_elements(), step_size(), options.compute,
                          options.memory_budget)
             : forecast_memory(*model, trained_elements(), step_size(), options.compute);
}

// The same step once more if that can be; else the end of the run, with all that was reached.
ComputeOptions Trainer::Impl::make_room(const Error& error, std::int64_t live_before,
                                        const TrainerEvents& events) {
  const detail::Shortage shortage{
      .forecast = forecast,
      .step = step_size(),
      .trained = trained_elements(),
      .live_before = live_before,
      .live_then = take_refused_live_bytes().value_or(memory_stats(model->device()).peak_bytes)};
  if (const auto cheaper = detail::cheaper_way(*model, shortage)) {
    forecast = *cheaper;
    options.compute = cheaper->compute;
    if (events.on_out_of_memory) events.on_out_of_memory(error, forecast);
    return options.compute;
  }
  // Other ranks are elsewhere: what all write together is left out.
  if (!options.ranks) save_checkpoint(events);
  throw Error(ErrorKind::kOutOfMemory, "train",
              fmt::format("step {}: {}; {}", state.global_step + 1, error.rule(),
                          detail::explain(*model, shortage)),
              {}, detail::smaller_step(*model, shortage));
}

Trainer::Trainer(std::shared_ptr<CausalLm> model, std::shared_ptr<LoraAdapter> adapter,
                 Dataset train, Dataset eval, TrainerOptions options)
    : impl_(std::make_unique<Impl>()) {
  Impl& run = *impl_;
  run.model = std::move(model);
  run.adapter = std::move(adapter);
  run.train = std::move(train);
  run.eval = std::move(eval);
  run.options = std::move(options);
  if (run.model == nullptr) refuse("a run needs a model, got a null pointer");
  detail::check_options(run.options, run.eval.size() > 0);
  const bool is_full = run.options.fine_tune_type == FineTuneType::kFull;
  if (is_full != (run.adapter == nullptr)) {
    refuse(is_full ? "full fine-tuning trains the weights, not an adapter"
                   : "LoRA needs an adapter to train");
  }
  if (run.train.size() > 0 && run.train.num_targets() == 0) {
    refuse("no token of the training data is a target");
  }
  run.options.batches.seed = run.options.seed;
  run.total = detail::count_steps(run.train, run.options);
  run.schedule = detail::make_schedule(run.options, run.total);
  // Before anything is allocated for training.
  run.forecast = run.make_forecast();
  run.options.compute = run.forecast.compute;
  if (is_full) {
    run.model->set_trainable(true);
  } else {
    run.adapter->set_trainable(true);
  }
  run.settings = detail::run_settings(run.options, run.total, run.train, run.eval, *run.model,
                                      run.adapter.get());
  run.optimizer = std::make_unique<Optimizer>(*run.model, run.trained(), run.options.optimizer,
                                              run.options.compute, run.options.ranks);
}

Trainer::~Trainer() = default;

std::int64_t Trainer::total_steps() const { return impl_->total; }
std::int64_t Trainer::steps() const { return impl_->state.global_step; }
const MemoryForecast& Trainer::forecast() const { return impl_->forecast; }
EvalReport Trainer::evaluate() const { return *impl_->evaluate({}); }

std::optional<std::filesystem::path> Trainer::latest_checkpoint(
    const std::filesystem::path& folder) {
  const auto checkpoints = detail::list_checkpoints(folder);
  if (checkpoints.empty()) return std::nullopt;
  return checkpoints.back().path;
}

void Trainer::resume(const std::filesystem::path& checkpoint) {
  Impl& run = *impl_;
  const std::filesystem::path folder =
      checkpoint.has_filename() ? checkpoint : checkpoint.parent_path();
  const detail::TrainerState state = detail::read_checkpoint(folder, run.settings);
  const NamedTensors trained = run.trained();
  const NamedTensors values = detail::read_tensors(folder / run.trained_file(), trained);
  const NamedTensors moments =
      detail::read_tensors(folder / kOptimizerFile, run.optimizer->state());
  if (run.options.load_best_model_at_end && state.best_loss) {
    run.best_checkpoint = run.find_best(folder, state);
  }
  // All of it is there and fits: from here on the run changes.
  detail::overwrite(trained, values);
  run.optimizer->set_state(moments, state.global_step);
  run.state = state;
  run.last_checkpoint = folder;
  run.is_resumed = true;
}

// Where the best tensors so far are kept; a run may be resumed into another output_dir.
std::filesystem::path Trainer::Impl::find_best(const std::filesystem::path& checkpoint,
                                               const detail::TrainerState& resumed) const {
  if (resumed.best_step == resumed.global_step) return checkpoint;
  const auto beside = detail::checkpoint_path(checkpoint.parent_path(), resumed.best_step);
  const auto own = detail::checkpoint_path(options.output_dir, resumed.best_step);
  for (const auto& candidate : {beside, own}) {
    if (std::filesystem::exists(candidate / trained_file())) return candidate;
  }
  refuse(fmt::format("{} is missing: it holds the best tensors up to {}", beside.string(),
                     checkpoint.filename().string()));
}

// A run of its own must not mix its checkpoints with those of another.
void Trainer::Impl::prepare_output() const {
  if (!writes()) return;
  std::error_code problem;
  std::filesystem::create_directories(options.output_dir, problem);
  if (problem) {
    throw Error(ErrorKind::kIo, options.output_dir.string(),
                "cannot be created: " + problem.message());
  }
  // What cannot be written is better known before the first step than after hours.
  {
    const detail::AtomicFolder probe(detail::checkpoint_path(options.output_dir, total));
  }
  detail::AtomicFolder::remove_stale(options.output_dir);
  for (const detail::CheckpointFolder& checkpoint : detail::list_checkpoints(options.output_dir)) {
    if (is_resumed && detail::is_of_run(checkpoint.path, settings)) continue;
    refuse(fmt::format("{} holds the checkpoints of another run ({})", options.output_dir.string(),
                       checkpoint.path.filename().string()),
           "resume from them or choose another output_dir");
  }
}

void Trainer::Impl::save_trained(const std::filesystem::path& folder) const {
  if (adapter) return adapter->save(folder);
  NamedTensors weights;
  for (const auto& [name, tensor] : model->parameters()) {
    weights.emplace_back(name, tensor.detach());
  }
  save_safetensors(folder / kWeightsFile, weights);
}

void Trainer::Impl::save_checkpoint(const TrainerEvents& events) {
  if (!keeps() || state.global_step == 0) return;
  const auto path = detail::checkpoint_path(options.output_dir, state.global_step);
  if (last_checkpoint == path) return;
  if (writes()) {
    detail::write_checkpoint(path, state, settings, [&](const std::filesystem::path& folder) {
      save_trained(folder);
      save_safetensors(folder / kOptimizerFile, optimizer->state());
    });
  }
  last_checkpoint = path;
  wait_for_ranks();
  if (!writes()) return;
  if (options.save_total_limit > 0) {
    detail::remove_old_checkpoints(options.output_dir, state.global_step, options.save_total_limit);
  }
  if (events.on_save) events.on_save(path);
}

// What a user takes away: the trained tensors, the best ones when asked for.
void Trainer::Impl::save_result() {
  if (!best_checkpoint.empty()) {
    const NamedTensors targets = trained();
    detail::overwrite(targets, detail::read_tensors(best_checkpoint / trained_file(), targets));
  }
  if (!writes()) return;
  if (adapter) {
    adapter->save(options.output_dir);
  } else {
    model->write_files(options.output_dir, options.save_dtype);
  }
}

// Nothing when the user asked to stop meanwhile.
std::optional<EvalReport> Trainer::Impl::evaluate(const std::function<bool()>& should_stop) const {
  if (eval.size() == 0) refuse("there is no evaluation data");
  optimizer->forget_recordings();
  auto report =
      detail::evaluate_until(*model, eval, options.batches, options.compute.loss_chunk_rows,
                             should_stop, options.ranks.get());
  if (report) report->step = state.global_step;
  return report;
}

// The evaluation of this step; false when the user asked to stop meanwhile: it remains to be made.
bool Trainer::Impl::make_evaluation(const TrainerEvents& events, TrainResult& result) {
  auto report = evaluate(events.should_stop);
  if (!report) return false;
  state.is_evaluation_due = false;
  note_evaluation(*report, events);
  result.last_eval = report;
  return true;
}

void Trainer::Impl::note_evaluation(EvalReport& report, const TrainerEvents& events) {
  // A loss that is not finite is never the best.
  report.is_best =
      std::isfinite(report.loss) && (!state.best_loss || report.loss < *state.best_loss);
  if (report.is_best) {
    state.best_loss = report.loss;
    state.best_step = state.global_step;
    state.evaluations_without_better = 0;
  } else {
    ++state.evaluations_without_better;
  }
  if (events.on_evaluate) events.on_evaluate(report);
  // With the state that names it, so that no kill leaves a best of another moment.
  if (report.is_best && options.load_best_model_at_end) {
    save_checkpoint(events);
    best_checkpoint = last_checkpoint;
  }
}

bool Trainer::Impl::out_of_patience() const {
  return options.early_stopping_patience > 0 &&
         state.evaluations_without_better >= options.early_stopping_patience;
}

// One optimizer step on the next micro-batches of the epoch; nothing when the user asked to stop: then the state is that
// of before.
std::optional<StepReport> Trainer::Impl::take_step(const EpochPlan& plan,
                                                   const TrainerEvents& events) {
  const std::int64_t end =
      std::min(plan.size(), state.micro_batch + options.gradient_accumulation_steps);
  std::vector<MicroBatch> batches;
  for (std::int64_t i = state.micro_batch; i < end; ++i) batches.push_back(plan.batch(i));
  std::optional<StepReport> report;
  const std::int64_t live_before = memory_stats(model->device()).live_bytes;
  take_refused_live_bytes();  // of earlier times
  optimizer->set_on_out_of_memory(
      [&](const Error& error) { return make_room(error, live_before, events); });
  try {
    report = optimizer->step(batches, schedule.at(state.global_step + 1), options.seed,
                             events.should_stop);
  } catch (const Error& error) {
    const std::string last = last_checkpoint.empty()
                                 ? "no checkpoint was written yet"
                                 : "the last good checkpoint is " + last_checkpoint.string();
    throw Error(error.kind(), error.op(), error.rule(), error.operands(),
                error.hint() + (error.hint().empty() ? "" : "; ") + last);
  }
  if (!report) return std::nullopt;
  advance(*report, end, plan);
  if (events.on_step) events.on_step(*report);
  return report;
}

void Trainer::Impl::advance(const StepReport& report, std::int64_t end, const EpochPlan& plan) {
  state.global_step = report.step;
  state.micro_batch = end;
  state.tokens_seen += report.num_tokens;
  state.targets_seen += report.num_targets;
  state.last_loss = report.loss;
  if (state.micro_batch == plan.size()) {
    ++state.epoch;
    state.micro_batch = 0;
  }
}

// Nothing stops it but its end, patience, and the user.
void Trainer::Impl::take_steps(const TrainerEvents& events, TrainResult& result) {
  const auto stop = [&] { result.end = TrainResult::End::kStopped; };
  if (state.is_evaluation_due) {
    if (!make_evaluation(events, result)) return stop();
    // The checkpoint that was resumed has this step's tensors, but not what was found.
    const auto path = detail::checkpoint_path(options.output_dir, state.global_step);
    if (writes() && last_checkpoint == path) detail::replace_state(path, state);
  }
  std::optional<EpochPlan> plan;
  std::int64_t planned = -1;
  while (state.global_step < total && !out_of_patience()) {
    if (planned != state.epoch) {
      planned = state.epoch;
      plan.emplace(train, options.batches, planned);
    }
    if (!take_step(*plan, events)) return stop();
    const bool is_last = state.global_step == total;
    state.is_evaluation_due = eval.size() > 0 && (is_last || is_due(options.eval_steps));
    if (state.is_evaluation_due && !make_evaluation(events, result)) return stop();
    if (is_due(options.save_steps)) save_checkpoint(events);
  }
  if (out_of_patience()) result.end = TrainResult::End::kEarlyStopping;
}

// What differs from the start would differ more with every step.
void Trainer::Impl::check_ranks() const {
  if (!options.ranks) return;
  NamedTensors tensors = trained();
  const NamedTensors moments = optimizer->state();
  tensors.insert(tensors.end(), moments.begin(), moments.end());
  detail::check_equal(*options.ranks, settings, tensors);
}

TrainResult Trainer::run(const TrainerEvents& events) {
  Impl& run = *impl_;
  run.prepare_output();
  run.check_ranks();
  if (events.on_start) events.on_start(run.total);
  TrainResult result;
  run.take_steps(events, result);
  run.optimizer->forget_recordings();
  run.save_checkpoint(events);
  run.wait_for_ranks();  // before the first of them leaves
  if (result.end != TrainResult::End::kStopped) run.save_result();
  result.steps = run.state.global_step;
  result.last_loss = run.state.last_loss;
  if (run.state.best_loss) {
    result.best_eval =
        EvalReport{.step = run.state.best_step, .loss = *run.state.best_loss, .is_best = true};
  }
  return result;
}

}  // namespace wick
