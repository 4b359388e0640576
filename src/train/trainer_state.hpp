#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/json.hpp"

namespace wick::detail {

/// How far a run has come: everything besides tensors that decides how it goes on.
struct TrainerState {
  std::int64_t global_step = 0;
  std::int64_t epoch = 0;
  std::int64_t micro_batch = 0;  ///< next one of the epoch
  std::int64_t tokens_seen = 0;
  std::int64_t targets_seen = 0;
  double last_loss = 0;  ///< of the last step
  std::optional<double> best_loss;
  std::int64_t best_step = 0;
  std::int64_t evaluations_without_better = 0;
  bool is_evaluation_due = false;  ///< of this step: the user broke it off
};

/// The state as trainer_state.json holds it.
Json to_json(const TrainerState& state);

/// Reads what to_json() wrote. Throws Error kParse naming the field.
TrainerState parse_trainer_state(const JsonFields& fields);

}  // namespace wick::detail
