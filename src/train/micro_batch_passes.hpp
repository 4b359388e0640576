#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "wick/models/causal_lm.hpp"
#include "wick/runtime/stream.hpp"
#include "wick/train/batches.hpp"
#include "wick/train/optimizer.hpp"

namespace wick::detail {

/// What one pass needs beside its micro-batch.
struct PassNumbers {
  std::uint64_t seed = 0;   ///< of the run's dropout masks
  std::int64_t random = 0;  ///< which of the seed's numbers: another for each pass
  float loss_scale = 1;     ///< of the sum of the losses
};

/// A micro-batch on a device, in memory that stays while others of its shape come.
class PassInputs {
 public:
  /// For batches of this one's shape.
  PassInputs(const MicroBatch& batch, Device device);
  /// Whether that is one of them.
  bool hold(const MicroBatch& batch) const;
  void write(const MicroBatch& batch, const PassNumbers& numbers) const;

  Tensor ids() const { return plane(0); }
  Tensor positions() const { return plane(1); }
  Tensor targets() const { return plane(2); }
  /// Undefined where no row holds a second sample.
  Tensor segments() const { return has_neighbours_ ? plane(3) : Tensor(); }
  const Tensor& random() const { return random_; }
  const Tensor& loss_scale() const { return loss_scale_; }

 private:
  Tensor plane(std::int64_t index) const;

  std::int64_t batch_size_, length_;
  bool has_neighbours_;
  Tensor planes_;  // i32 [4,B,T]
  Tensor random_;  // i64 []
  Tensor loss_scale_;
};

/// Sum of the losses of its targets, [] f32.
Tensor batch_loss(const CausalLm& model, const PassInputs& inputs, const PassContext& context,
                  const ComputeOptions& compute);

/// Forward and backward of micro-batches. Where the device records, a pass whose shape has come before is recorded and from
/// then on repeated: all that differs between passes is read from memory that stays. Another shape, other
/// adapters, or forget() give the recordings and their memory back.
class MicroBatchPasses {
 public:
  /// `model` outlives the object; the gradients of `parameters` are made.
  MicroBatchPasses(const CausalLm& model, NamedTensors parameters)
      : model_(model), parameters_(std::move(parameters)) {}

  /// Adds the gradients of the scaled loss to those that the parameters have. The loss [] f32 is memory of the next
  /// run.
  Tensor run(const MicroBatch& batch, const PassNumbers& numbers, const ComputeOptions& compute);
  /// What other work needs memory for, and other options, begin with nothing recorded.
  void forget();
  /// forget(); where there was a recording, its memory is free now, and no other is made. Whether there was.
  bool stop_recording();

 private:
  struct Recording {
    bool has_run = false;
    std::unique_ptr<Graph> graph;
    Tensor loss;
  };

  void prepare(const MicroBatch& batch);
  bool has_gradients() const;
  bool may_record(const Recording& pass) const;
  bool record(Recording& pass, std::uint64_t seed, const ComputeOptions& compute);
  Tensor repeat(const Recording& pass) const;
  Tensor compute(std::uint64_t seed, const ComputeOptions& compute) const;

  const CausalLm& model_;
  NamedTensors parameters_;
  std::unique_ptr<PassInputs> inputs_;
  std::uint64_t model_version_ = 0;  // that the recordings are of
  Recording first_;                  // of a step: makes the gradients
  Recording later_;                  // adds to them
  std::vector<Tensor> gradients_;    // those of the recordings
  bool is_refused_ = false;
};

}  // namespace wick::detail
