#pragma once

#include <cstdint>
#include <string>

#include "wick/models/causal_lm.hpp"
#include "wick/train/optimizer.hpp"

namespace wick {

/// Bytes that a training run needs at its peak, by what they are for. What is alive at other moments only is in none of
/// the parts: their sum is the peak.
struct MemoryForecast {
  std::int64_t weights = 0;  ///< of the base, as held (mapped pages included)
  std::int64_t adapter =
      0;  ///< trained tensors and gradients; with full fine-tuning gradients alone
  std::int64_t optimizer = 0;    ///< AdamW's two moments
  std::int64_t activations = 0;  ///< kept for backward(), and what backward() itself needs
  std::int64_t logits = 0;  ///< of one chunk, and their gradient where it has memory of its own
  ComputeOptions compute;   ///< what it was computed for

  /// All of it.
  std::int64_t total() const noexcept {
    return weights + adapter + optimizer + activations + logits;
  }
};

/// How much one optimizer step takes in.
struct StepSize {
  std::int64_t batch_size = 1;     ///< rows of a micro-batch
  std::int64_t length = 1;         ///< tokens of a row
  std::int64_t micro_batches = 1;  ///< gradient accumulation
};

/// The forecast for steps of a size. `trained` counts the trained elements: all of the model's, or those of its active
/// adapter.
MemoryForecast forecast_memory(const CausalLm& model, std::int64_t trained, const StepSize& step,
                               const ComputeOptions& compute);

/// The cheapest way to compute that fits into `budget` bytes: what `compute` says if possible, then
/// selective_checkpointing, then as few recomputed layers as possible, then smaller chunks of logits. Throws Error
/// kOutOfMemory with the parts when nothing fits.
MemoryForecast fit_memory(const CausalLm& model, std::int64_t trained, const StepSize& step,
                          const ComputeOptions& compute, std::int64_t budget);

/// "weights 1.2 GiB + adapter 12 MiB + … = 1.9 GiB".
std::string to_string(const MemoryForecast& forecast);

}  // namespace wick
