#include "train/out_of_memory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "ops/losses.hpp"

namespace wick::detail {

namespace {

constexpr std::int64_t kMinChunkRows = 16;
constexpr std::int64_t kMinLength = 16;

// What the forecast's total may be: what is there besides a step, and the room that a step was given.
std::int64_t budget_of(const CausalLm& model, const Shortage& shortage) {
  const MemoryForecast& forecast = shortage.forecast;
  const bool is_full = shortage.trained == model.num_parameters();
  const auto tensors = static_cast<std::int64_t>(sizeof(float)) * shortage.trained;
  return forecast.weights + forecast.optimizer + (is_full ? 0 : tensors) + shortage.room();
}

// The least that can be done beyond `compute`; nothing when there is no more to do.
std::optional<ComputeOptions> next_cheaper(const CausalLm& model, const StepSize& step,
                                           ComputeOptions compute) {
  if (!compute.selective_checkpointing) {
    compute.selective_checkpointing = true;
    return compute;
  }
  if (compute.checkpointed_layers < model.config().num_hidden_layers) {
    ++compute.checkpointed_layers;
    return compute;
  }
  std::int64_t rows = compute.loss_chunk_rows;
  if (rows == 0) rows = default_chunk_rows(model.config().vocab_size, model.device());
  rows = std::min(rows, step.batch_size * step.length) / 2;
  if (rows < kMinChunkRows) return std::nullopt;
  compute.loss_chunk_rows = rows;
  return compute;
}

bool fits(const CausalLm& model, const Shortage& shortage, const StepSize& step) {
  try {
    fit_memory(model, shortage.trained, step, shortage.forecast.compute,
               budget_of(model, shortage));
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kOutOfMemory) throw;
    return false;
  }
}

}  // namespace

std::optional<MemoryForecast> cheaper_way(const CausalLm& model, const Shortage& shortage) {
  const auto least = next_cheaper(model, shortage.step, shortage.forecast.compute);
  if (!least) return std::nullopt;
  try {
    return fit_memory(model, shortage.trained, shortage.step, *least, budget_of(model, shortage));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kOutOfMemory) throw;
    return std::nullopt;
  }
}

std::string explain(const CausalLm& model, const Shortage& shortage) {
  const MemoryForecast& forecast = shortage.forecast;
  const bool is_full = shortage.trained == model.num_parameters();
  const std::int64_t adapter =
      is_full ? 0 : static_cast<std::int64_t>(sizeof(float)) * shortage.trained;
  // On the CPU the weights may be pages of their file, which no allocator counts.
  const std::int64_t others =
      std::max<std::int64_t>(shortage.live_before - forecast.optimizer - adapter, 0);
  return fmt::format(
      "live then: weights and inputs {}, adapter {}, optimizer {}, this step's activations, "
      "gradients and "
      "logits {}; the forecast was {}",
      readable(others), readable(adapter), readable(forecast.optimizer), readable(shortage.room()),
      to_string(forecast));
}

std::string smaller_step(const CausalLm& model, const Shortage& shortage) {
  StepSize step = shortage.step;
  while (--step.batch_size > 0) {
    if (fits(model, shortage, step)) {
      return fmt::format("batch_size {} would fit with gradient checkpointing", step.batch_size);
    }
  }
  step.batch_size = 1;
  while ((step.length /= 2) >= kMinLength) {
    if (fits(model, shortage, step)) {
      return fmt::format(
          "batch_size 1 with max_seq_length {} would fit with gradient checkpointing", step.length);
    }
  }
  return "no smaller step fits beside what is there";
}

}  // namespace wick::detail
