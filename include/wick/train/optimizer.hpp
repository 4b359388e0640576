#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "wick/base/error.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/runtime/communicator.hpp"
#include "wick/train/batches.hpp"

namespace wick {

namespace detail {
class MicroBatchPasses;
}

/// The numbers of AdamW and clipping, with Hugging Face's names and defaults.
struct OptimizerOptions {
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 1;  ///< 0: no clipping
};

/// How a pass is computed; the result is the same.
struct ComputeOptions {
  /// what one pass over memory makes again is not kept for backward() (RecomputeGuard)
  bool selective_checkpointing = true;
  std::int64_t checkpointed_layers = 0;  ///< layers that run again in backward()
  std::int64_t loss_chunk_rows =
      0;  ///< rows of logits that exist at a time; 0: about 32 MiB, on a GPU 256
};

/// What one step did.
struct StepReport {
  std::int64_t step = 0;  ///< from 1
  double loss = 0;        ///< mean over the step's targets
  double grad_norm = 0;   ///< before clipping
  double learning_rate = 0;
  std::int64_t num_tokens = 0;  ///< without padding
  std::int64_t num_targets = 0;
};

/// Sum of the losses of a micro-batch's targets, without dropout or gradient.
double loss_sum(const CausalLm& model, const MicroBatch& batch, std::int64_t loss_chunk_rows = 0);

/// Takes optimizer steps on given micro-batches: knows of no files, epochs or schedules.
class Optimizer {
 public:
  /// `parameters` are trained under their names; each must require a gradient. Tensors named like a bias or a norm get no
  /// weight decay. With `ranks` the micro-batches of a step are dealt to its processes in turn, and all of them update
  /// alike. Throws Error kArgument when there are none.
  Optimizer(const CausalLm& model, NamedTensors parameters, OptimizerOptions options,
            ComputeOptions compute = {}, std::shared_ptr<Communicator> ranks = nullptr);
  ~Optimizer();
  Optimizer(Optimizer&& other) noexcept;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(Optimizer&&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Forward, backward and update. The loss is the sum over the targets of all micro-batches divided by their number: how
  /// the samples are spread over micro-batches does not matter. `seed` decides dropout. `stop` is asked between
  /// micro-batches; when it says yes nothing is changed and nothing returned.
  ///
  /// Throws Error kArgument with step and tensor when the loss or a gradient is not finite and when a parameter received no
  /// gradient (a gradient of zeros is one), and when no token is a target; kBackend when a rank is gone. Nothing has been
  /// changed then.
  std::optional<StepReport> step(std::span<const MicroBatch> batches, double learning_rate,
                                 std::uint64_t seed, const std::function<bool()>& stop = nullptr);

  /// Asked when a forward or backward pass found no memory, with nothing changed yet: the answer is how the step is
  /// computed once more, from its first micro-batch. It may throw; without it, or without an answer, step() throws what it
  /// was given.
  using OutOfMemory = std::function<std::optional<ComputeOptions>(const Error& error)>;
  /// Who is asked then.
  void set_on_out_of_memory(OutOfMemory ask) { on_out_of_memory_ = std::move(ask); }

  /// On a device that records (CUDA), passes of one shape are recorded the second time and repeated from then on; the memory
  /// they use is kept for them. This gives it back, for other work; the next steps record again.
  void forget_recordings();

  /// Steps taken.
  std::int64_t steps() const noexcept { return steps_; }
  /// The trained tensors by name.
  const NamedTensors& parameters() const noexcept { return parameters_; }
  /// Moments, named "m.<parameter>" and "v.<parameter>".
  NamedTensors state() const;
  /// Takes moments and step count over from a checkpoint. Throws Error kArgument, kShape naming what does not fit; nothing
  /// has been changed then.
  void set_state(const NamedTensors& state, std::int64_t steps);

 private:
  double accumulate(std::span<const MicroBatch> batches, const StepReport& report,
                    std::uint64_t seed, const std::function<bool()>& stop, bool& is_stopped) const;
  double accumulate_within_memory(std::span<const MicroBatch> batches, const StepReport& report,
                                  std::uint64_t seed, const std::function<bool()>& stop,
                                  bool& is_stopped);
  bool divides_late() const;
  void scale_gradients(double factor) const;
  void update(StepReport& report);
  void check_finite(const StepReport& report) const;

  const CausalLm& model_;
  NamedTensors parameters_;
  std::vector<Tensor> m_;
  std::vector<Tensor> v_;
  std::vector<std::size_t> decayed_;
  std::vector<std::size_t> plain_;
  OptimizerOptions options_;
  ComputeOptions compute_;
  std::shared_ptr<Communicator> ranks_;
  std::unique_ptr<detail::MicroBatchPasses> passes_;
  OutOfMemory on_out_of_memory_;
  std::int64_t steps_ = 0;
};

}  // namespace wick
