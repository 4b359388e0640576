#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wick/models/causal_lm.hpp"
#include "wick/runtime/communicator.hpp"
#include "wick/train/batches.hpp"
#include "wick/train/dataset.hpp"
#include "wick/train/memory_forecast.hpp"
#include "wick/train/optimizer.hpp"
#include "wick/train/schedule.hpp"

namespace wick {

/// What is trained.
enum class FineTuneType {
  kLora,  ///< an adapter on a frozen base (DoRA by LoraConfig::use_dora)
  kFull,  ///< every weight
};

/// A whole run, in the words of Hugging Face's Trainer where it has them.
struct TrainerOptions {
  FineTuneType fine_tune_type = FineTuneType::kLora;
  std::filesystem::path output_dir;  ///< checkpoints and the result; empty: nothing is written
  double num_train_epochs = 3;
  std::int64_t max_steps = 0;  ///< wins over num_train_epochs when positive
  std::int64_t gradient_accumulation_steps = 1;
  BatchOptions batches;
  OptimizerOptions optimizer;
  ScheduleType lr_scheduler_type = ScheduleType::kLinear;
  double learning_rate = 1e-4;
  std::int64_t warmup_steps = 0;
  double warmup_ratio = 0;  ///< of all steps; used when warmup_steps is 0
  double min_lr_ratio = 0;
  std::int64_t eval_steps = 0;        ///< 0: at the end only
  std::int64_t save_steps = 0;        ///< 0: at the end only
  std::int64_t save_total_limit = 0;  ///< newest checkpoints kept, besides the best; 0: all
  /// the result is that of the best evaluation: each evaluation that is the best so far writes a checkpoint
  bool load_best_model_at_end = false;
  std::int64_t early_stopping_patience = 0;  ///< evaluations without a better loss; 0: never stops
  std::uint64_t seed = 42;
  ComputeOptions compute;
  std::int64_t memory_budget = 0;  ///< bytes; 0: none
  /// kFull: dtype of the weights that are written at the end; checkpoints are f32
  std::optional<DType> save_dtype = {};
  /// the processes that train together, each with the same model, data and options; they share the micro-batches of a
  /// step, and rank 0 alone writes. Null: this process alone
  std::shared_ptr<Communicator> ranks = nullptr;
};

/// What an evaluation found.
struct EvalReport {
  std::int64_t step = 0;
  double loss = 0;  ///< mean over the targets
  std::int64_t num_targets = 0;
  bool is_best = false;
};

/// Mean loss of a model over a data set. Throws Error kArgument when no token is a target.
EvalReport evaluate_loss(const CausalLm& model, const Dataset& data, const BatchOptions& batches,
                         std::int64_t loss_chunk_rows = 0);

/// Called while a run goes on; each may be empty. What they throw ends the run, and goes on to the caller of run().
struct TrainerEvents {
  std::function<void(std::int64_t total_steps)> on_start;
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EvalReport&)> on_evaluate;
  std::function<void(const std::filesystem::path&)> on_save;
  /// a step found no memory and is computed again, as this forecast says
  std::function<void(const Error&, const MemoryForecast&)> on_out_of_memory;
  /// asked between micro-batches; true saves a checkpoint and ends the run. An evaluation that it breaks off counts for
  /// nothing; resuming begins with it
  std::function<bool()> should_stop;
};

/// How a run ended.
struct TrainResult {
  enum class End { kFinished, kEarlyStopping, kStopped };
  End end = End::kFinished;
  std::int64_t steps = 0;
  double last_loss = 0;
  std::optional<EvalReport> last_eval;  ///< of this call
  std::optional<EvalReport> best_eval;
};

/// Trains a model on a data set: epochs, schedule, evaluation, checkpoints, resuming.
///
/// A run that was killed and resumed ends in the same bytes as one that was not. Checkpoints appear whole or not at all:
/// `<output_dir>/checkpoint-<step>` with the adapter (or model.safetensors in f32), optimizer.safetensors, and
/// trainer_state.json, which holds the state, the settings and the digest of every file.
class Trainer {
 public:
  /// `adapter` (of `model`, active) is trained with kLora, else nullptr. `eval` may be empty. Checks options, makes the
  /// memory forecast and applies memory_budget, before it allocates anything. Throws Error kArgument, kOutOfMemory; kDtype
  /// when weights to be trained are not f32.
  Trainer(std::shared_ptr<CausalLm> model, std::shared_ptr<LoraAdapter> adapter, Dataset train,
          Dataset eval, TrainerOptions options);
  ~Trainer();

  /// Continues from a checkpoint folder. Throws Error kIo; kParse for a file that is damaged; kArgument naming each option,
  /// data set or model that differs from the checkpoint's in a way that changes the result. Then nothing has changed.
  void resume(const std::filesystem::path& checkpoint);
  /// The newest checkpoint of a folder, if there is one; what a killed run left unfinished is none. Throws Error kIo when
  /// the folder cannot be read.
  static std::optional<std::filesystem::path> latest_checkpoint(
      const std::filesystem::path& folder);

  /// Runs to the end; writes checkpoints and the final result to output_dir. A step that finds no memory goes on in the
  /// next cheaper way that fits; where there is none, a checkpoint of what was reached is written, and Error kOutOfMemory
  /// says what was forecast, what lives and what would fit. Throws Error kIo before the first step when
  /// nothing can be written there; kArgument when it holds the checkpoints of another run; what Optimizer::step() throws,
  /// with the last good checkpoint; kArgument on a rank whose options or tensors are not those of rank 0.
  TrainResult run(const TrainerEvents& events = {});
  /// Mean loss over the evaluation data. Throws Error kArgument when there is none.
  EvalReport evaluate() const;

  /// Steps that the run will take.
  std::int64_t total_steps() const;
  /// Steps taken, those of a resumed checkpoint included.
  std::int64_t steps() const;
  /// What was forecast.
  const MemoryForecast& forecast() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wick
