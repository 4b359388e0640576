#pragma once

#include <cstdint>

#include "wick/train/trainer.hpp"

namespace wick::detail {

/// Throws Error kArgument for options out of range, and those that need evaluation data where there is none.
void check_options(const TrainerOptions& options, bool has_eval);

/// Steps of a whole run. Throws Error kArgument for what is wrong with data and batches.
std::int64_t count_steps(const Dataset& train, const TrainerOptions& options);

/// The schedule of a run of `total` steps.
Schedule make_schedule(const TrainerOptions& options, std::int64_t total);

}  // namespace wick::detail
