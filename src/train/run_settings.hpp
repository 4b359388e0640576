#pragma once

#include <string>

#include "base/json.hpp"
#include "wick/train/trainer.hpp"

namespace wick::detail {

/// Everything besides the state that decides the bytes a run ends in: options, data, the adapter's configuration and
/// the model. Two runs with equal settings may continue each other's checkpoints. How a pass is computed (ComputeOptions,
/// memory budget, threads) and what is kept on disk are not among them.
Json run_settings(const TrainerOptions& options, std::int64_t total_steps, const Dataset& train,
                  const Dataset& eval, const CausalLm& model, const LoraAdapter* adapter);

/// The settings that differ, with both values: "learning_rate was 0.1 and is 0.2, the training data differs"; empty when
/// none does.
std::string changed_settings(const Json& stored, const Json& wanted);

}  // namespace wick::detail
