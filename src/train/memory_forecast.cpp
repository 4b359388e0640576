#include "wick/train/memory_forecast.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "wick/base/error.hpp"

namespace wick {

namespace {

constexpr std::int64_t kFloatBytes = 4;
constexpr std::int64_t kDefaultChunkBytes = std::int64_t{32} << 20;
constexpr std::int64_t kMinChunkRows = 16;

// Floats per token that one layer keeps for its gradient: the two norms' inputs and outputs (4 D), what attention
// keeps (q, k, v and its output), and gate, up and their product (3 F). A norm per head keeps its inputs too.
std::int64_t kept_per_token(const ModelConfig& config) {
  const std::int64_t q = config.num_attention_heads * config.head_dim;
  const std::int64_t kv = config.num_key_value_heads * config.head_dim;
  const std::int64_t norms = config.qk_norm ? q + kv : 0;
  return 4 * config.hidden_size + 2 * q + 2 * kv + 3 * config.intermediate_size + norms;
}

// What a layer's backward pass holds besides: gradients of the widest part and of the residual stream.
std::int64_t transient_per_token(const ModelConfig& config) {
  return 3 * config.intermediate_size + 3 * config.hidden_size;
}

std::int64_t chunk_rows(const ModelConfig& config, const ComputeOptions& compute) {
  if (compute.loss_chunk_rows > 0) return compute.loss_chunk_rows;
  return std::max(kMinChunkRows, kDefaultChunkBytes / (kFloatBytes * config.vocab_size));
}

std::string readable(std::int64_t bytes) {
  constexpr double kMebi = 1024.0 * 1024.0;
  const auto value = static_cast<double>(bytes);
  if (value < kMebi) return fmt::format("{:.1f} KiB", value / 1024);
  if (value < 1024 * kMebi) return fmt::format("{:.1f} MiB", value / kMebi);
  return fmt::format("{:.2f} GiB", value / (1024 * kMebi));
}

}  // namespace

MemoryForecast forecast_memory(const CausalLm& model, std::int64_t trained, std::int64_t batch_size,
                               std::int64_t length, const ComputeOptions& compute) {
  const ModelConfig& config = model.config();
  const std::int64_t tokens = batch_size * length;
  const std::int64_t layers = config.num_hidden_layers;
  const std::int64_t again = std::clamp<std::int64_t>(compute.checkpointed_layers, 0, layers);
  const std::int64_t kept = kept_per_token(config);
  // A layer that runs again keeps its input; while it does, one of them keeps everything.
  const std::int64_t floats = (layers - again) * kept + again * config.hidden_size +
                              (again > 0 ? kept : 0) + transient_per_token(config) +
                              4 * config.hidden_size;
  MemoryForecast forecast{.compute = compute};
  forecast.weights = model.num_bytes();
  forecast.adapter = 2 * trained * kFloatBytes;
  forecast.optimizer = 2 * trained * kFloatBytes;
  if (trained == model.num_parameters()) forecast.adapter -= trained * kFloatBytes;
  forecast.activations = floats * tokens * kFloatBytes;
  const std::int64_t rows = std::min(tokens, chunk_rows(config, compute));
  forecast.logits = 2 * rows * config.vocab_size * kFloatBytes;
  return forecast;
}

MemoryForecast fit_memory(const CausalLm& model, std::int64_t trained, std::int64_t batch_size,
                          std::int64_t length, const ComputeOptions& compute, std::int64_t budget) {
  const std::int64_t layers = model.config().num_hidden_layers;
  ComputeOptions choice = compute;
  const auto forecast = [&] { return forecast_memory(model, trained, batch_size, length, choice); };
  for (; choice.checkpointed_layers <= layers; ++choice.checkpointed_layers) {
    if (forecast().total() <= budget) return forecast();
  }
  choice.checkpointed_layers = layers;
  for (std::int64_t rows = chunk_rows(model.config(), compute) / 2; rows >= kMinChunkRows;
       rows /= 2) {
    choice.loss_chunk_rows = rows;
    if (forecast().total() <= budget) return forecast();
  }
  throw Error(ErrorKind::kOutOfMemory, "train",
              "the smallest way to compute needs " + to_string(forecast()) +
                  ", the memory budget is " + readable(budget),
              {}, "reduce batch_size or max_seq_length");
}

std::string to_string(const MemoryForecast& forecast) {
  std::string text = fmt::format(
      "weights {} + adapter and gradients {} + optimizer {} + activations {} + logits {} = {}",
      readable(forecast.weights), readable(forecast.adapter), readable(forecast.optimizer),
      readable(forecast.activations), readable(forecast.logits), readable(forecast.total()));
  if (forecast.compute.checkpointed_layers > 0) {
    text += fmt::format(" ({} layers computed again in backward)",
                        forecast.compute.checkpointed_layers);
  }
  return text;
}

}  // namespace wick
