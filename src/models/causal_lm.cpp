#include "wick/models/causal_lm.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "models/builder.hpp"
#include "ops/losses.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/attention.hpp"
#include "wick/ops/embedding.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/norm.hpp"
#include "wick/ops/view.hpp"

namespace wick {

namespace {

// Positions [T] that follow what a cache holds.
Tensor positions_after(std::int64_t length, std::int64_t count, Device device) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), static_cast<std::int32_t>(length));
  return Tensor::from_values(values, {count}, device);
}

// Sum of the weights of the rows that count.
double supervised_weight(const Tensor& targets, const CrossEntropyOptions& options) {
  const std::vector<std::int64_t> ids = cast(targets, DType::kI64).to_vector<std::int64_t>();
  std::vector<float> weights(ids.size(), 1);
  if (options.token_weights.defined()) weights = options.token_weights.to_vector<float>();
  double sum = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != options.ignore_index) sum += static_cast<double>(weights[i]);
  }
  return sum;
}

}  // namespace

struct CausalLm::Layer {
  std::int64_t index;
  std::int64_t window;
  Tensor input_norm;
  Tensor post_attention_norm;
  Tensor q_norm;
  Tensor k_norm;
  Linear* q;
  Linear* k;
  Linear* v;
  Linear* o;
  Linear* gate;
  Linear* up;
  Linear* down;
};

CausalLm::CausalLm(Private, ModelConfig config, Device device) : Model(std::move(config), device) {}

CausalLm::~CausalLm() = default;

void CausalLm::build(ParameterSource& source) {
  ParameterList list(source, parameters_);
  const std::int64_t d = config_.hidden_size;
  const std::int64_t q_size = config_.num_attention_heads * config_.head_dim;
  const std::int64_t kv_size = config_.num_key_value_heads * config_.head_dim;
  const std::int64_t f = config_.intermediate_size;
  const auto linear = [&](const std::string& path, std::int64_t out, std::int64_t in, bool biased) {
    const Tensor weight = list.weight(path + ".weight", {out, in});
    return &add_linear(path, weight, biased ? list.bias(path + ".bias", {out}) : Tensor());
  };

  embed_tokens_ = list.weight("model.embed_tokens.weight", {config_.vocab_size, d});
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.";
    Layer made{.index = i, .window = config_.layer_windows.at(static_cast<std::size_t>(i))};
    made.input_norm = list.norm(layer + "input_layernorm.weight", d);
    made.q = linear(attention + "q_proj", q_size, d, config_.qkv_bias);
    made.k = linear(attention + "k_proj", kv_size, d, config_.qkv_bias);
    made.v = linear(attention + "v_proj", kv_size, d, config_.qkv_bias);
    made.o = linear(attention + "o_proj", d, q_size, config_.attention_output_bias);
    if (config_.qk_norm) {
      made.q_norm = list.norm(attention + "q_norm.weight", config_.head_dim);
      made.k_norm = list.norm(attention + "k_norm.weight", config_.head_dim);
    }
    made.post_attention_norm = list.norm(layer + "post_attention_layernorm.weight", d);
    made.gate = linear(layer + "mlp.gate_proj", f, d, config_.mlp_bias);
    made.up = linear(layer + "mlp.up_proj", f, d, config_.mlp_bias);
    made.down = linear(layer + "mlp.down_proj", d, f, config_.mlp_bias);
    layers_.push_back(std::move(made));
  }
  norm_ = list.norm("model.norm.weight", d);
  output_head_ = "lm_head";
  lm_head_ = config_.tie_word_embeddings ? &add_linear(output_head_, embed_tokens_, Tensor())
                                         : linear(output_head_, config_.vocab_size, d, false);
  rope_ = rope_frequencies(config_.rope, device_);
}

std::shared_ptr<CausalLm> CausalLm::load(const std::filesystem::path& folder,
                                         const LoadOptions& options) {
  ModelConfig config = load_model_config(folder);
  if (config.family != ModelFamily::kDecoder) {
    throw Error(ErrorKind::kUnsupported, "load_model",
                folder.string() + ": model_type \"" + config.model_type +
                    "\" is an encoder and does not generate text");
  }
  std::vector<std::string> ignored{"rotary_emb.inv_freq"};
  if (config.tie_word_embeddings) ignored.emplace_back("lm_head.weight");
  StoredParameters source(Weights::open(folder), options, "", std::move(ignored));
  auto model = std::make_shared<CausalLm>(Private(), std::move(config), options.device);
  model->folder_ = folder;
  model->build(source);
  source.check_all_taken();
  model->choose_compute_dtype(options.compute_dtype);
  if (options.rope_dtype) {
    Tensor& frequencies = model->rope_.inv_freq;
    frequencies = cast(cast(frequencies, *options.rope_dtype), DType::kF32);
  }
  return model;
}

std::shared_ptr<CausalLm> CausalLm::create(const ModelConfig& config, std::uint64_t seed,
                                           Device device, DType compute_dtype, DType dtype) {
  if (config.family != ModelFamily::kDecoder) {
    throw Error(ErrorKind::kArgument, "create_model",
                "model_type \"" + config.model_type + "\" is not a decoder");
  }
  FreshParameters source(config.initializer_range, seed, dtype, device);
  auto model = std::make_shared<CausalLm>(Private(), config, device);
  model->build(source);
  model->choose_compute_dtype(compute_dtype);
  return model;
}

Tensor CausalLm::attend(const Layer& layer, const Tensor& x, const Tensor& positions,
                        const CausalPass& pass) const {
  const std::int64_t batch = x.dim(0);
  const std::int64_t length = x.dim(1);
  const auto heads = [&](const Tensor& y, std::int64_t count) {
    return reshape(y, {batch, length, count, config_.head_dim});
  };
  const Linear* const projections[] = {layer.q, layer.k, layer.v};
  const std::vector<Tensor> projected = Linear::forward_all(projections, x, pass.context);
  Tensor q = heads(projected[0], config_.num_attention_heads);
  Tensor k = heads(projected[1], config_.num_key_value_heads);
  const Tensor v = heads(projected[2], config_.num_key_value_heads);
  if (layer.q_norm.defined()) {
    q = rms_norm(q, layer.q_norm, {.eps = config_.norm_eps});
    k = rms_norm(k, layer.k_norm, {.eps = config_.norm_eps});
  }
  const AttentionOptions options{
      .causal = true, .window = layer.window, .key_mask = pass.key_mask, .segments = pass.segments};
  Tensor mixed;
  if (pass.cache != nullptr) {
    mixed = pass.cache->attend(layer.index, q, k, v, positions, rope_, options);
  } else {
    const RotatedPair rotated = rope(q, k, positions, rope_);
    mixed = attention(rotated.q, rotated.k, v, options);
  }
  const std::int64_t width = config_.num_attention_heads * config_.head_dim;
  return layer.o->forward(reshape(mixed, {batch, length, width}), pass.context);
}

// The norm of all that the layers have added up so far, which is then in `sum` alone.
Tensor CausalLm::normed(Residual& residual, const Tensor& weight) const {
  const NormOptions norm{.eps = config_.norm_eps};
  if (!residual.pending.defined()) return rms_norm(residual.sum, weight, norm);
  const NormedSum result = add_rms_norm(residual.sum, residual.pending, weight, norm);
  residual = {.sum = result.sum};
  return result.normed;
}

CausalLm::Residual CausalLm::run_layer(const Layer& layer, Residual residual,
                                       const Tensor& positions, const CausalPass& pass) const {
  const RecomputeGuard selective(pass.selective_checkpointing);
  const Tensor input = normed(residual, layer.input_norm);
  residual.pending = attend(layer, input, positions, pass);
  const Tensor attended = normed(residual, layer.post_attention_norm);
  residual.pending =
      Linear::swiglu_mlp(*layer.gate, *layer.up, *layer.down, attended, pass.context);
  return residual;
}

// Keeps one tensor, its input, for the time until backward() runs it again.
Tensor CausalLm::run_checkpointed(const Layer& layer, const Tensor& x, const Tensor& positions,
                                  const CausalPass& pass) const {
  // By value: it runs again in backward(), long after this call. The layers live as long as the model.
  const auto segment = [this, &layer, positions, pass](const std::vector<Tensor>& inputs) {
    const Residual result = run_layer(layer, {.sum = inputs[0]}, positions, pass);
    return std::vector<Tensor>{add(result.sum, result.pending)};
  };
  return checkpoint(segment, {x})[0];
}

Tensor CausalLm::hidden(const Tensor& ids, const CausalPass& pass) const {
  if (ids.rank() != 2) {
    throw Error(ErrorKind::kShape, "hidden", "ids must be [B,T], got " + to_string(ids.shape()));
  }
  const std::int64_t seen = pass.cache == nullptr ? 0 : pass.cache->length();
  const Tensor positions =
      pass.positions.defined() ? pass.positions : positions_after(seen, ids.dim(1), device_);
  Residual residual{.sum = cast(embedding(embed_tokens_, ids), compute_dtype_)};
  for (const Layer& layer : layers_) {
    // Checkpointed layers come first: nothing is pending before them.
    if (layer.index < pass.checkpointed_layers && grad_enabled()) {
      residual.sum = run_checkpointed(layer, residual.sum, positions, pass);
    } else {
      residual = run_layer(layer, std::move(residual), positions, pass);
    }
  }
  if (pass.cache != nullptr) pass.cache->advance(ids.dim(1));
  return normed(residual, norm_);
}

Tensor CausalLm::logits(const Tensor& hidden, const PassContext& context) const {
  if (!is_half(hidden.dtype())) return lm_head_->forward(hidden, context);
  if (lm_head_->has_adapters() && !lm_head_->is_merged()) {
    return cast(lm_head_->forward(hidden, context), DType::kF32);
  }
  const Tensor weight = lm_head_->weight_for(hidden.dtype());
  const MatmulOptions options{.transpose_b = true};
  const bool differentiates = grad_enabled() && (hidden.requires_grad() || weight.requires_grad());
  if (differentiates) return matmul(cast(hidden, DType::kF32), weight, options);
  // The same product without a copy of its operands in f32.
  std::vector<std::int64_t> shape = hidden.shape().to_vector();
  shape.back() = config_.vocab_size;
  Tensor scores = Tensor::empty(Shape(shape), DType::kF32, device_);
  matmul_(scores, hidden.detach(), weight.detach(), options, 0);
  return scores;
}

Tensor CausalLm::loss(const Tensor& hidden, const Tensor& targets,
                      const CrossEntropyOptions& options, std::int64_t chunk_rows,
                      const PassContext& context) const {
  const std::int64_t rows = targets.numel();
  const Tensor x = reshape(hidden, {rows, config_.hidden_size});
  const Tensor flat = reshape(targets, {rows});
  if (!lm_head_->has_adapters() || lm_head_->is_merged()) {
    return linear_cross_entropy(x, lm_head_->weight_for(x.dtype()), flat, options, chunk_rows);
  }
  return adapted_head_loss(x, flat, options, chunk_rows, context);
}

// With an adapter on the head, a chunk's logits are made twice: for the loss, and again for its gradient.
Tensor CausalLm::adapted_head_loss(const Tensor& x, const Tensor& targets,
                                   const CrossEntropyOptions& options, std::int64_t chunk_rows,
                                   const PassContext& context) const {
  const std::int64_t rows = x.dim(0);
  if (chunk_rows == 0) chunk_rows = detail::default_chunk_rows(config_.vocab_size, device_);
  CrossEntropyOptions sum = options;
  sum.reduction = LossReduction::kSum;
  Tensor total = Tensor::zeros({}, DType::kF32, device_);
  for (std::int64_t begin = 0; begin < rows; begin += chunk_rows) {
    const std::int64_t end = std::min(rows, begin + chunk_rows);
    CrossEntropyOptions chunk = sum;
    if (options.token_weights.defined()) {
      chunk.token_weights = slice(options.token_weights, 0, begin, end);
    }
    const Tensor chunk_targets = slice(targets, 0, begin, end);
    const auto segment = [this, chunk, chunk_targets, context](const std::vector<Tensor>& inputs) {
      return std::vector<Tensor>{cross_entropy(logits(inputs[0], context), chunk_targets, chunk)};
    };
    total = add(total, checkpoint(segment, {slice(x, 0, begin, end)})[0]);
  }
  if (options.reduction == LossReduction::kSum) return total;
  const double count = supervised_weight(targets, options);
  return scale(total, count == 0 ? 0 : 1 / count);
}

KvCache CausalLm::make_cache(std::int64_t batch, std::int64_t capacity) const {
  return KvCache(config_.num_hidden_layers, batch, capacity, config_.num_key_value_heads,
                 config_.head_dim, compute_dtype_, device_);
}

}  // namespace wick
