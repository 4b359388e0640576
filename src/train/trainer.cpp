#include "wick/train/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

#include "base/atomic_file.hpp"
#include "train/checkpoints.hpp"
#include "train/run_settings.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"

namespace wick {

namespace {

constexpr std::string_view kOptimizerFile = "optimizer.safetensors";
constexpr std::string_view kWeightsFile = "model.safetensors";
constexpr std::string_view kAdapterFile = "adapter_model.safetensors";

[[noreturn]] void refuse(const std::string& rule, std::string hint = {}) {
  throw Error(ErrorKind::kArgument, "train", rule, {}, std::move(hint));
}

void check_options(const TrainerOptions& options, bool has_eval) {
  const auto need = [](bool holds, const std::string& rule) {
    if (!holds) refuse(rule);
  };
  need(options.max_steps > 0 ||
           (options.num_train_epochs > 0 && std::isfinite(options.num_train_epochs)),
       "num_train_epochs or max_steps must be positive");
  need(options.gradient_accumulation_steps >= 1, "gradient_accumulation_steps must be at least 1");
  need(options.learning_rate >= 0 && std::isfinite(options.learning_rate),
       "learning_rate must be finite and not negative");
  need(options.warmup_steps >= 0 && options.warmup_ratio >= 0 && options.warmup_ratio <= 1,
       "warmup_steps must not be negative, and warmup_ratio in [0, 1]");
  need(options.min_lr_ratio >= 0 && options.min_lr_ratio <= 1, "min_lr_ratio must be in [0, 1]");
  need(std::min({options.eval_steps, options.save_steps, options.save_total_limit,
                 options.early_stopping_patience, options.memory_budget}) >= 0,
       "eval_steps, save_steps, save_total_limit, early_stopping_patience and memory_budget must "
       "not be negative");
  need(has_eval || (options.eval_steps == 0 && options.early_stopping_patience == 0 &&
                    !options.load_best_model_at_end),
       "eval_steps, early_stopping_patience and load_best_model_at_end need evaluation data");
  need(!options.load_best_model_at_end || !options.output_dir.empty(),
       "load_best_model_at_end needs an output_dir, where the best checkpoint is kept");
}

std::int64_t steps_of(const EpochPlan& plan, std::int64_t accumulation) {
  return (plan.size() + accumulation - 1) / accumulation;
}

// Epochs may differ in length: packing fits another order of samples into another number of rows.
std::int64_t count_steps(const Dataset& train, const TrainerOptions& options) {
  // Refuses what is wrong with data and batches before the run begins.
  const EpochPlan first(train, options.batches, 0);
  if (options.max_steps > 0) return options.max_steps;
  std::int64_t total = 0;
  double left = options.num_train_epochs;
  for (std::int64_t epoch = 0; left > 0; ++epoch, left -= 1) {
    const EpochPlan plan(train, options.batches, epoch);
    const auto steps = static_cast<double>(steps_of(plan, options.gradient_accumulation_steps));
    // 2.1 epochs of 10 steps are 21: what is left of 2.1 after two is a little more than 0.1.
    constexpr double kRounding = 1e-9;
    total += static_cast<std::int64_t>(std::ceil(std::min(left, 1.0) * steps - kRounding));
  }
  return std::max<std::int64_t>(total, 1);
}

Schedule make_schedule(const TrainerOptions& options, std::int64_t total) {
  std::int64_t warmup = options.warmup_steps;
  if (warmup == 0) {
    warmup =
        static_cast<std::int64_t>(std::ceil(options.warmup_ratio * static_cast<double>(total)));
  }
  return {.type = options.lr_scheduler_type,
          .learning_rate = options.learning_rate,
          .warmup_steps = warmup,
          .total_steps = total,
          .min_lr_ratio = options.min_lr_ratio};
}

// The tensors of a file, which must be those of `targets`: same names, shapes and dtype.
NamedTensors read_tensors(const std::filesystem::path& path, const NamedTensors& targets) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  NamedTensors stored;
  for (const auto& [name, target] : targets) {
    if (!file.contains(name)) refuse(path.string() + ": tensor " + name + " is missing");
    stored.emplace_back(name, file.tensor(name));
    const Tensor& found = stored.back().second;
    if (found.shape() == target.shape() && found.dtype() == target.dtype()) continue;
    refuse(fmt::format("{}: tensor {} must be {} {}, the file has {} {}", path.string(), name,
                       to_string(target.dtype()), to_string(target.shape()),
                       to_string(found.dtype()), to_string(found.shape())));
  }
  if (file.tensors().size() != targets.size()) {
    refuse(fmt::format("{} has {} tensors, but {} are trained", path.string(),
                       file.tensors().size(), targets.size()));
  }
  return stored;
}

void overwrite(const NamedTensors& targets, const NamedTensors& values) {
  const NoGradGuard no_gradient;
  for (std::size_t i = 0; i < targets.size(); ++i) copy_(targets[i].second, values[i].second);
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
  bool writes() const { return !options.output_dir.empty(); }
  MemoryForecast make_forecast() const;
  void prepare_output() const;
  std::filesystem::path find_best(const std::filesystem::path& checkpoint,
                                  const detail::TrainerState& resumed) const;
  void save_trained(const std::filesystem::path& folder) const;
  void save_checkpoint(const TrainerEvents& events);
  void save_result();
  EvalReport evaluate() const;
  EvalReport note_evaluation(const TrainerEvents& events);
  std::optional<StepReport> take_step(const EpochPlan& plan, const TrainerEvents& events);
  void advance(const StepReport& report, std::int64_t end, const EpochPlan& plan);
  bool out_of_patience() const;
  bool is_due(std::int64_t every) const { return every > 0 && state.global_step % every == 0; }
};

MemoryForecast Trainer::Impl::make_forecast() const {
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : trained()) elements += tensor.numel();
  const BatchOptions& batches = options.batches;
  const StepSize step{.batch_size = std::min(batches.batch_size, train.size()),
                      .length = batches.packing ? batches.max_seq_length : train.max_length(),
                      .micro_batches = options.gradient_accumulation_steps};
  return options.memory_budget > 0
             ? fit_memory(*model, elements, step, options.compute, options.memory_budget)
             : forecast_memory(*model, elements, step, options.compute);
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
  check_options(run.options, run.eval.size() > 0);
  const bool is_full = run.options.fine_tune_type == FineTuneType::kFull;
  if (is_full != (run.adapter == nullptr)) {
    refuse(is_full ? "full fine-tuning trains the weights, not an adapter"
                   : "LoRA needs an adapter to train");
  }
  if (run.train.size() > 0 && run.train.num_targets() == 0) {
    refuse("no token of the training data is a target");
  }
  run.options.batches.seed = run.options.seed;
  run.total = count_steps(run.train, run.options);
  run.schedule = make_schedule(run.options, run.total);
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
                                              run.options.compute);
}

Trainer::~Trainer() = default;

std::int64_t Trainer::total_steps() const { return impl_->total; }
std::int64_t Trainer::steps() const { return impl_->state.global_step; }
const MemoryForecast& Trainer::forecast() const { return impl_->forecast; }
EvalReport Trainer::evaluate() const { return impl_->evaluate(); }

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
  const NamedTensors values = read_tensors(folder / run.trained_file(), trained);
  const NamedTensors moments = read_tensors(folder / kOptimizerFile, run.optimizer->state());
  if (run.options.load_best_model_at_end && state.best_loss) {
    run.best_checkpoint = run.find_best(folder, state);
  }
  // All of it is there and fits: from here on the run changes.
  overwrite(trained, values);
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
  if (!writes() || state.global_step == 0) return;
  const auto path = detail::checkpoint_path(options.output_dir, state.global_step);
  if (last_checkpoint == path) return;
  detail::write_checkpoint(path, state, settings, [&](const std::filesystem::path& folder) {
    save_trained(folder);
    save_safetensors(folder / kOptimizerFile, optimizer->state());
  });
  last_checkpoint = path;
  if (options.save_total_limit > 0) {
    detail::remove_old_checkpoints(options.output_dir, state.global_step, options.save_total_limit);
  }
  if (events.on_save) events.on_save(path);
}

// What a user takes away: the trained tensors, the best ones when asked for.
void Trainer::Impl::save_result() {
  if (!best_checkpoint.empty()) {
    const NamedTensors targets = trained();
    overwrite(targets, read_tensors(best_checkpoint / trained_file(), targets));
  }
  if (!writes()) return;
  if (adapter) {
    adapter->save(options.output_dir);
  } else {
    model->write_files(options.output_dir, options.save_dtype);
  }
}

EvalReport evaluate_loss(const CausalLm& model, const Dataset& data, const BatchOptions& batches,
                         std::int64_t loss_chunk_rows) {
  BatchOptions in_order = batches;
  in_order.shuffle = false;
  const EpochPlan plan(data, in_order, 0);
  EvalReport report;
  double sum = 0;
  for (std::int64_t i = 0; i < plan.size(); ++i) {
    const MicroBatch batch = plan.batch(i);
    if (batch.num_targets == 0) continue;
    sum += loss_sum(model, batch, loss_chunk_rows);
    report.num_targets += batch.num_targets;
  }
  if (report.num_targets == 0) refuse("no token of the evaluation data is a target");
  report.loss = sum / static_cast<double>(report.num_targets);
  return report;
}

EvalReport Trainer::Impl::evaluate() const {
  if (eval.size() == 0) refuse("there is no evaluation data");
  EvalReport report = evaluate_loss(*model, eval, options.batches, options.compute.loss_chunk_rows);
  report.step = state.global_step;
  return report;
}

EvalReport Trainer::Impl::note_evaluation(const TrainerEvents& events) {
  EvalReport report = evaluate();
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
  return report;
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

TrainResult Trainer::run(const TrainerEvents& events) {
  Impl& run = *impl_;
  run.prepare_output();
  if (events.on_start) events.on_start(run.total);
  TrainResult result;
  if (run.out_of_patience()) result.end = TrainResult::End::kEarlyStopping;
  std::optional<EpochPlan> plan;
  std::int64_t planned = -1;
  while (run.state.global_step < run.total && result.end == TrainResult::End::kFinished) {
    if (planned != run.state.epoch) {
      planned = run.state.epoch;
      plan.emplace(run.train, run.options.batches, planned);
    }
    if (!run.take_step(*plan, events)) {
      result.end = TrainResult::End::kStopped;
      break;
    }
    const bool is_last = run.state.global_step == run.total;
    if (run.eval.size() > 0 && (is_last || run.is_due(run.options.eval_steps))) {
      result.last_eval = run.note_evaluation(events);
      if (run.out_of_patience()) result.end = TrainResult::End::kEarlyStopping;
    }
    if (run.is_due(run.options.save_steps)) run.save_checkpoint(events);
  }
  run.save_checkpoint(events);
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
