#pragma once

#include <cstdint>
#include <string>

#include "wick/models/causal_lm.hpp"
#include "wick/train/optimizer.hpp"

namespace wick {

/// Bytes that a training run will need at its peak, by what they are for.
struct MemoryForecast {
  std::int64_t weights = 0;      ///< of the frozen base, as held (mapped pages included)
  std::int64_t adapter = 0;      ///< trained tensors and their gradients
  std::int64_t optimizer = 0;    ///< AdamW's two moments
  std::int64_t activations = 0;  ///< kept for backward(), and what backward() itself needs
  std::int64_t logits = 0;       ///< one chunk and its gradient
  ComputeOptions compute;        ///< what it was computed for

  /// All of it.
  std::int64_t total() const noexcept {
    return weights + adapter + optimizer + activations + logits;
  }
};

/// The forecast for micro-batches of `batch_size` rows of `length` tokens. `trained` counts the trained elements.
MemoryForecast forecast_memory(const CausalLm& model, std::int64_t trained, std::int64_t batch_size,
                               std::int64_t length, const ComputeOptions& compute);

/// The cheapest way to compute that fits into `budget` bytes: no recomputation if possible, then as few recomputed layers
/// as possible, then smaller chunks of logits. Throws Error kOutOfMemory with the parts when nothing fits.
MemoryForecast fit_memory(const CausalLm& model, std::int64_t trained, std::int64_t batch_size,
                          std::int64_t length, const ComputeOptions& compute, std::int64_t budget);

/// "weights 1.2 GiB + adapter 12 MiB + … = 1.9 GiB".
std::string to_string(const MemoryForecast& forecast);

}  // namespace wick
