#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace wick {

/// How the learning rate changes over a run: Hugging Face's names.
enum class ScheduleType {
  kConstant,  ///< "constant" (with warm-up "constant_with_warmup")
  kLinear,    ///< "linear": to zero
  kCosine,    ///< "cosine": half a wave to zero
};

/// The name: "constant", "linear", "cosine".
std::string_view to_string(ScheduleType type) noexcept;
/// Reads a name; "constant_with_warmup" is constant. Throws Error kArgument listing the names.
ScheduleType parse_schedule_type(std::string_view name);

/// A learning rate for every step.
struct Schedule {
  ScheduleType type = ScheduleType::kLinear;
  double learning_rate = 1e-4;    ///< the peak
  std::int64_t warmup_steps = 0;  ///< rises linearly from 0 before the peak
  std::int64_t total_steps = 1;
  double min_lr_ratio = 0;  ///< linear and cosine end at this share of the peak

  /// The learning rate in force when step `step` (from 1) is taken: transformers' get_scheduler() at step − 1. Past
  /// total_steps it stays where it ended. Throws Error kArgument for a step below 1.
  double at(std::int64_t step) const;
};

}  // namespace wick
