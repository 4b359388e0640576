#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "wick/base/error.hpp"
#include "wick/train/memory_forecast.hpp"

namespace wick::detail {

/// "1.2 GiB".
std::string readable(std::int64_t bytes);

/// A step that found no memory, as the allocator and the forecast saw it.
struct Shortage {
  MemoryForecast forecast;       ///< of the way in which it was computed
  StepSize step;                 ///< its size
  std::int64_t trained = 0;      ///< elements
  std::int64_t live_before = 0;  ///< bytes of tensors before the step began
  std::int64_t live_then = 0;    ///< when there was no more

  /// What the step's own tensors held then.
  std::int64_t room() const { return live_then - live_before; }
};

/// The next cheaper way to compute the same step that fits into the room which this one found; nothing when there is none.
std::optional<MemoryForecast> cheaper_way(const CausalLm& model, const Shortage& shortage);

/// What was forecast, what lives by kind, and which step would fit.
std::string explain(const CausalLm& model, const Shortage& shortage);

/// A batch or length that fits, as a hint.
std::string smaller_step(const CausalLm& model, const Shortage& shortage);

}  // namespace wick::detail
