#include "wick/train/memory_forecast.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "ops/losses.hpp"
#include "train/out_of_memory.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

constexpr std::int64_t kFloatBytes = 4;
constexpr std::int64_t kMinChunkRows = 16;

std::int64_t size_in_bytes(DType dtype) { return static_cast<std::int64_t>(size_of(dtype)); }

// Bytes per token. What is kept is alive until backward() has passed it; the rest comes and goes.
struct TokenCosts {
  std::int64_t hidden = 0;    // of a vector of the residual stream
  std::int64_t layer = 0;     // what a layer keeps
  std::int64_t adapters = 0;  // what the adapters of all layers keep besides
  std::int64_t layer_backward =
      0;  // at most, beyond what is kept, while one layer's gradient is computed
  std::int64_t first_trained = 0;  // layers before it need no gradient and keep nothing
};

// The number of the decoder layer that a module is part of; the count of layers for the output head.
std::int64_t layer_of(const std::string& path, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (path.starts_with(fmt::format("model.layers.{}.", i))) return i;
  }
  return count;
}

// Of an adapter on x [T,K] → [T,N]: x Aᵀ in f32; with DoRA the output before the gain in f32, and with dropout the dropped
// input.
std::int64_t kept_by(const LoraLayer& adapter, DType compute) {
  std::int64_t bytes = kFloatBytes * adapter.a.dim(0);
  if (!adapter.magnitude.defined()) return bytes;
  bytes += kFloatBytes * adapter.b.dim(0);
  if (adapter.dropout > 0) bytes += size_in_bytes(compute) * adapter.a.dim(1);
  return bytes;
}

TokenCosts token_costs(const CausalLm& model, bool is_full, bool is_selective) {
  const ModelConfig& config = model.config();
  const std::int64_t size = size_in_bytes(model.compute_dtype());
  const std::int64_t d = config.hidden_size;
  const std::int64_t q = config.num_attention_heads * config.head_dim;
  const std::int64_t kv = config.num_key_value_heads * config.head_dim;
  const std::int64_t f = config.intermediate_size;
  TokenCosts costs{.hidden = size * d};
  // Inputs and outputs of the two norms; q, k, v and the output of attention and its row sums in f32; gate, up and their
  // product.
  costs.layer = size * (4 * d + 2 * q + 2 * kv + 3 * f) + kFloatBytes * config.num_attention_heads;
  if (config.qk_norm) costs.layer += size * (q + kv);  // each norm keeps its input
  // Gradients of gate and up, and of the residual stream.
  costs.layer_backward = size * (2 * f + d);
  if (is_selective) {
    // The outputs of the norms and the product are made again; that of one layer, while its gradient is computed.
    costs.layer -= size * (2 * d + f);
    costs.layer_backward += size * f;
  }
  if (is_full) return costs;
  costs.first_trained = config.num_hidden_layers;
  for (const auto& [name, adapter] : model.adapters()) {
    for (const auto& [path, layer] : adapter->layers()) {
      const Linear* linear = model.find_linear(path);
      if (linear == nullptr || !linear->has_adapters()) continue;
      costs.adapters += kept_by(*layer, model.compute_dtype());
      costs.first_trained = std::min(costs.first_trained, layer_of(path, config.num_hidden_layers));
    }
  }
  return costs;
}

// Bytes of the weights that are copied into the dtype of the activations, which the copies' layer keeps.
struct ConvertedWeights {
  std::int64_t layer = 0;
  std::int64_t head = 0;
};

ConvertedWeights converted_weights(const CausalLm& model) {
  ConvertedWeights bytes;
  const std::int64_t layers = model.config().num_hidden_layers;
  const DType compute = model.compute_dtype();
  if (!is_half(compute)) return bytes;
  for (const auto& linear : model.linears()) {
    if (linear->weight().dtype() == compute) continue;
    const bool is_head = layer_of(linear->path(), layers) == layers;
    (is_head ? bytes.head : bytes.layer) += size_in_bytes(compute) * linear->weight().numel();
  }
  bytes.layer /= layers;
  return bytes;
}

std::int64_t chunk_rows(const CausalLm& model, const ComputeOptions& compute) {
  if (compute.loss_chunk_rows > 0) return compute.loss_chunk_rows;
  return detail::default_chunk_rows(model.config().vocab_size, model.device());
}

// Bytes that activations and the logits need together at the worst moment: when all layers are kept, and the loss or the
// last layer's gradient is computed, or when the last of those that keep only their input runs again.
std::int64_t peak_bytes(const TokenCosts& costs, const ConvertedWeights& weights,
                        const ModelConfig& config, std::int64_t checkpointed, std::int64_t tokens,
                        std::int64_t logits) {
  const std::int64_t d = costs.hidden;
  const std::int64_t trained = config.num_hidden_layers - costs.first_trained;
  const std::int64_t again =
      std::clamp<std::int64_t>(checkpointed - costs.first_trained, 0, trained);
  const std::int64_t whole = trained - again;
  const std::int64_t adapters = trained > 0 ? costs.adapters / trained : costs.adapters;
  const std::int64_t layer = costs.layer + adapters;
  // The last layer's output is what the final norm keeps.
  const std::int64_t kept = again * d + whole * layer + d;
  // The final norm's output and its gradient, beside the logits.
  const std::int64_t loss = (kept + 2 * d) * tokens + logits + whole * weights.layer + weights.head;
  const std::int64_t backward =
      (kept + costs.layer_backward) * tokens + whole * weights.layer + weights.head;
  const std::int64_t recompute =
      (again * d + layer + costs.layer_backward + d) * tokens + weights.layer;
  return std::max({loss, backward, again > 0 ? recompute : 0});
}

}  // namespace

namespace detail {

std::string readable(std::int64_t bytes) {
  constexpr double kMebi = 1024.0 * 1024.0;
  const auto value = static_cast<double>(bytes);
  if (value < kMebi) return fmt::format("{:.1f} KiB", value / 1024);
  if (value < 1024 * kMebi) return fmt::format("{:.1f} MiB", value / kMebi);
  return fmt::format("{:.2f} GiB", value / (1024 * kMebi));
}

}  // namespace detail

using detail::readable;

MemoryForecast forecast_memory(const CausalLm& model, std::int64_t trained, const StepSize& step,
                               const ComputeOptions& compute) {
  const ModelConfig& config = model.config();
  const bool is_full = trained == model.num_parameters();
  const std::int64_t tokens = step.batch_size * step.length;
  const std::int64_t rows = std::min(tokens, chunk_rows(model, compute));
  const Linear* head = model.find_linear("lm_head");
  // An adapter on the head keeps a chunk's logits until their gradient is there.
  const std::int64_t copies = head != nullptr && head->has_adapters() && !is_full ? 2 : 1;
  // Activations of 16 bits have their gradient beside the f32 logits; those of f32 have it in the same memory.
  const DType compute_dtype = model.compute_dtype();
  const std::int64_t half_bytes = is_half(compute_dtype) ? size_in_bytes(compute_dtype) : 0;
  const std::int64_t logit_bytes = copies == 2 ? 2 * kFloatBytes : kFloatBytes + half_bytes;
  const std::int64_t logits = logit_bytes * rows * config.vocab_size;
  std::int64_t bytes =
      peak_bytes(token_costs(model, is_full, compute.selective_checkpointing),
                 converted_weights(model), config, compute.checkpointed_layers, tokens, logits);
  std::int64_t gradients = kFloatBytes * trained;
  if (is_full) {
    // The head's gradient exists twice for a moment, and with tied weights the embedding's is another.
    const std::int64_t table = config.vocab_size * config.hidden_size;
    bytes += (2 * kFloatBytes + half_bytes) * table;
    // In a single pass gradients come as activations go; with accumulation the earlier ones are there already.
    const std::int64_t last =
        gradients + (config.tie_word_embeddings ? kFloatBytes * table : std::int64_t{0});
    if (step.micro_batches == 1) gradients = std::max<std::int64_t>(last - bytes, 0);
  }
  MemoryForecast forecast{.compute = compute};
  forecast.compute.checkpointed_layers =
      std::clamp<std::int64_t>(compute.checkpointed_layers, 0, config.num_hidden_layers);
  forecast.weights = model.num_bytes();
  forecast.adapter = gradients + (is_full ? 0 : kFloatBytes * trained);
  forecast.optimizer = 2 * trained * kFloatBytes;
  forecast.logits = logits;
  forecast.activations = bytes - logits;
  return forecast;
}

MemoryForecast fit_memory(const CausalLm& model, std::int64_t trained, const StepSize& step,
                          const ComputeOptions& compute, std::int64_t budget) {
  const std::int64_t layers = model.config().num_hidden_layers;
  ComputeOptions choice = compute;
  choice.checkpointed_layers = std::clamp<std::int64_t>(compute.checkpointed_layers, 0, layers);
  const auto forecast = [&] { return forecast_memory(model, trained, step, choice); };
  if (!choice.selective_checkpointing) {
    if (forecast().total() <= budget) return forecast();
    choice.selective_checkpointing = true;
  }
  for (; choice.checkpointed_layers <= layers; ++choice.checkpointed_layers) {
    if (forecast().total() <= budget) return forecast();
  }
  choice.checkpointed_layers = layers;
  const std::int64_t rows = std::min(step.batch_size * step.length, chunk_rows(model, compute));
  for (choice.loss_chunk_rows = rows / 2; choice.loss_chunk_rows >= kMinChunkRows;
       choice.loss_chunk_rows /= 2) {
    if (forecast().total() <= budget) return forecast();
  }
  choice.loss_chunk_rows = std::min(rows, kMinChunkRows);
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
  const ComputeOptions& compute = forecast.compute;
  if (compute.checkpointed_layers > 0) {
    text += fmt::format(" ({} layers computed again in backward)", compute.checkpointed_layers);
  } else if (compute.selective_checkpointing) {
    text += " (norms and SwiGLU computed again in backward)";
  }
  return text;
}

}  // namespace wick
