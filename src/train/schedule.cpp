#include "wick/train/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "wick/base/error.hpp"

namespace wick {

namespace {

// The share of the peak after warm-up, before min_lr_ratio lifts it: `left` of `length` steps are still to come.
double decayed(ScheduleType type, std::int64_t left, std::int64_t length) {
  const auto steps = static_cast<double>(length);
  if (type == ScheduleType::kLinear) return static_cast<double>(left) / steps;
  const double progress = static_cast<double>(length - left) / steps;
  return 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace

std::string_view to_string(ScheduleType type) noexcept {
  switch (type) {
    case ScheduleType::kConstant:
      return "constant";
    case ScheduleType::kLinear:
      return "linear";
    case ScheduleType::kCosine:
      return "cosine";
  }
  return "unknown";
}

ScheduleType parse_schedule_type(std::string_view name) {
  for (const ScheduleType type :
       {ScheduleType::kConstant, ScheduleType::kLinear, ScheduleType::kCosine}) {
    if (name == to_string(type)) return type;
  }
  if (name == "constant_with_warmup") return ScheduleType::kConstant;
  throw Error(ErrorKind::kArgument, "schedule",
              fmt::format("there is no learning rate schedule \"{}\"", name), {},
              "the names are constant, constant_with_warmup, linear, cosine");
}

double Schedule::at(std::int64_t step) const {
  if (step < 1) {
    throw Error(ErrorKind::kArgument, "schedule", fmt::format("steps count from 1, got {}", step));
  }
  const std::int64_t done = step - 1;
  if (done < warmup_steps) {
    return learning_rate * (static_cast<double>(done) / static_cast<double>(warmup_steps));
  }
  if (type == ScheduleType::kConstant) return learning_rate;
  const std::int64_t length = std::max<std::int64_t>(1, total_steps - warmup_steps);
  // Past the end the cosine would rise again.
  const std::int64_t left = std::clamp<std::int64_t>(total_steps - done, 0, length);
  return learning_rate * (min_lr_ratio + (1 - min_lr_ratio) * decayed(type, left, length));
}

}  // namespace wick
