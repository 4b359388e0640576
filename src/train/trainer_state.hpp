#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/json.hpp"
#include "wick/train/trainer.hpp"

namespace wick::detail {

/// How far a run has come: everything besides tensors that decides how it goes on.
struct TrainerState {
  std::int64_t global_step = 0;
  std::int64_t epoch = 0;
  std::int64_t micro_batch = 0;  ///< next one of the epoch
  std::int64_t tokens_seen = 0;
  std::int64_t targets_seen = 0;
  std::optional<double> best_loss;
  std::int64_t best_step = 0;
  std::int64_t evaluations_without_better = 0;
};

/// The state with the run's settings, as trainer_state.json holds it.
Json to_json(const TrainerState& state, const Json& settings);

/// Reads what to_json() wrote. Throws Error kParse; kArgument naming each setting that differs from `settings`, which
/// are those of the run that wants to go on.
TrainerState read_trainer_state(const std::filesystem::path& path, const Json& settings);

/// The settings that decide the result of a run.
Json settings_json(const TrainerOptions& options, std::int64_t total_steps, const Dataset& train,
                   const Dataset& eval);

}  // namespace wick::detail
