#include "train/out_of_memory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "ops/losses.hpp"

namespace wick::detail {

namespace {

constexpr std::int64_t kMinChunkRows = 16;
constexpr std::int64_t kMinLength = 16;

// Of the tensors of an adapter; none where the model itself is trained.
std::int64_t adapter_bytes(const CausalLm& model, const Shortage& shortage) {
  const bool is_full = shortage.trained == model.num_parameters();
  return is_full ? 0 : static_cast<std::int64_t>(sizeof(float)) * shortage.trained;
}

// What the forecast's total may be: what is there besides a step, and the room that a step was given.
std::int64_t budget_of(const CausalLm& model, const Shortage& shortage) {
  const MemoryForecast& forecast = shortage.forecast;
  return forecast.weights + forecast.optimizer + adapter_bytes(model, shortage) + shortage.room();
}

// The forecast of a way to compute a step of that size within the room that was found; nothing where none fits.
std::optional<MemoryForecast> fit(const CausalLm& model, const Shortage& shortage,
                                  const StepSize& step, const ComputeOptions& compute) {
  try {
    return fit_memory(model, shortage.trained, step, compute, budget_of(model, shortage));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kOutOfMemory) throw;
    return std::nullopt;
  }
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

}  // namespace

std::optional<MemoryForecast> cheaper_way(const CausalLm& model, const Shortage& shortage) {
  const auto least = next_cheaper(model, shortage.step, shortage.forecast.compute);
  return least ? fit(model, shortage, shortage.step, *least) : std::nullopt;
}

std::string explain(const CausalLm& model, const Shortage& shortage) {
  const MemoryForecast& forecast = shortage.forecast;
  const std::int64_t adapter = adapter_bytes(model, shortage);
  // On the CPU the weights may be pages of their file, which no allocator counts.
  const std::int64_t others =
      std::max<std::int64_t>(shortage.live_before - forecast.optimizer - adapter, 0);
  return fmt::format(
      "live then: weights and inputs {}, adapter {}, optimizer {}, this step's activations, "
      "gradients and logits {}; the forecast was {}",
      readable(others), readable(adapter), readable(forecast.optimizer), readable(shortage.room()),
      to_string(forecast));
}

std::string smaller_step(const CausalLm& model, const Shortage& shortage) {
  StepSize step = shortage.step;
  while (--step.batch_size > 0) {
    if (fit(model, shortage, step, shortage.forecast.compute)) {
      return fmt::format("batch_size {} would fit with gradient checkpointing", step.batch_size);
    }
  }
  step.batch_size = 1;
  while ((step.length /= 2) >= kMinLength) {
    if (fit(model, shortage, step, shortage.forecast.compute)) {
      return fmt::format(
          "batch_size 1 with max_seq_length {} would fit with gradient checkpointing", step.length);
    }
  }
  return "no smaller step fits beside what is there";
}

}  // namespace wick::detail
