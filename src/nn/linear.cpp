#include "wick/nn/linear.hpp"

#include <algorithm>
#include <utility>

#include "nn/dora_gains.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/activation.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/lora.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick {

namespace {

// Elements of a weight that are merged at a time: 16 MB in f32.
constexpr std::int64_t kMergedAtOnce = std::int64_t{1} << 22;

Tensor with_bias(const Tensor& y, const Tensor& bias) {
  return bias.defined() ? add(y, cast(bias, y.dtype())) : y;
}

// s (x Aᵀ) Bᵀ in the adapter's f32.
Tensor low_rank(const Tensor& x, const LoraLayer& layer) {
  const Tensor xa = matmul(x, layer.a, {.transpose_b = true});
  return matmul(xa, layer.b, {.transpose_b = true, .alpha = layer.scale});
}

}  // namespace

Linear::Linear(std::string path, std::uint64_t index, Tensor weight, Tensor bias)
    : path_(std::move(path)),
      index_(index),
      weight_(std::move(weight)),
      bias_(std::move(bias)),
      no_a_(Tensor::zeros({0, weight_.dim(1)}, DType::kF32, weight_.device())),
      no_b_(Tensor::zeros({weight_.dim(0), 0}, DType::kF32, weight_.device())),
      gains_(std::make_unique<DoraGains>()) {}

Linear::~Linear() = default;

Tensor Linear::weight_for(DType activations) const {
  return is_half(activations) ? cast(weight_, activations) : weight_;
}

bool Linear::is_frozen() const {
  return !weight_.requires_grad() && !(bias_.defined() && bias_.requires_grad());
}

Tensor Linear::plain(const Tensor& x) const {
  // A frozen product with a bias in one kernel: the adapter of rank 0.
  if (bias_.defined() && is_frozen()) return fused(x, no_a_, no_b_, {});
  return with_bias(matmul(x, weight_for(x.dtype()), {.transpose_b = true}), bias_);
}

// lora_linear() takes a bias of the weight's dtype alone.
Tensor Linear::fused(const Tensor& x, const Tensor& a, const Tensor& b,
                     const LoraOptions& options) const {
  const Tensor weight = weight_for(x.dtype());
  if (!bias_.defined()) return lora_linear(x, weight, bias_, a, b, options);
  if (is_half(x.dtype()) || bias_.dtype() == weight.dtype()) {
    return lora_linear(x, weight, cast(bias_, weight.dtype()), a, b, options);
  }
  return with_bias(lora_linear(x, weight, Tensor(), a, b, options), bias_);
}

// With dropout, all that the adapter changes sees the dropped input while the plain layer sees the whole one. The gain
// multiplies in f32: in 16 bits what training changes in it would be lost to the rounding of numbers near 1.
Tensor Linear::dora(const Tensor& x, const PassContext& pass, const LoraLayer& layer) const {
  if (pass.training && layer.dropout > 0) {
    return add(plain(x), contribution(x, Tensor(), pass, layer));
  }
  const LoraOptions options{.scale = layer.scale};
  const Tensor weight = weight_for(x.dtype());
  const Tensor y = lora_linear(x, weight, Tensor(), layer.a, layer.b, options);
  const Tensor scaled = mul(cast(y, DType::kF32), gains_->of(layer, weight_));
  return cast(with_bias(scaled, bias_), x.dtype());
}

Tensor Linear::adapted(const Tensor& x, const PassContext& pass, const LoraLayer& layer) const {
  if (layer.magnitude.defined()) return dora(x, pass, layer);
  LoraOptions options{.scale = layer.scale};
  if (pass.training) {
    options.dropout = layer.dropout;
    options.key = pass.key_of(index_);
  }
  return fused(x, layer.a, layer.b, options);
}

// What an adapter adds to the plain layer. `base` is x Wᵀ; it is not read when the adapter drops parts of x.
Tensor Linear::contribution(const Tensor& x, const Tensor& base, const PassContext& pass,
                            const LoraLayer& layer) const {
  const bool drops = pass.training && layer.dropout > 0;
  const Tensor input = drops ? dropout(x, layer.dropout, pass.key_of(index_)) : x;
  const Tensor delta = low_rank(input, layer);
  if (!layer.magnitude.defined()) return cast(delta, x.dtype());
  const Tensor product = drops ? matmul(input, weight_for(x.dtype()), {.transpose_b = true}) : base;
  const Tensor before = cast(product, DType::kF32);
  const Tensor gain = gains_->of(layer, weight_);
  return cast(sub(mul(add(before, delta), gain), before), x.dtype());
}

Tensor Linear::mixed(const Tensor& x, const PassContext& pass) const {
  const Tensor base = matmul(x, weight_for(x.dtype()), {.transpose_b = true});
  Tensor y = with_bias(base, bias_);
  for (const WeightedLora& adapter : adapters_) {
    y = add(y, scale(contribution(x, base, pass, *adapter.layer), adapter.weight));
  }
  return y;
}

Tensor Linear::forward(const Tensor& x, const PassContext& pass) const {
  if (adapters_.empty() || is_merged()) return plain(x);
  if (adapters_.size() == 1 && adapters_[0].weight == 1) {
    return adapted(x, pass, *adapters_[0].layer);
  }
  return mixed(x, pass);
}

// Whether forward() is a lora_linear() of operands_for().
bool Linear::may_join(DType activations, const PassContext& pass) const {
  if (weight_.requires_grad()) return false;
  if (bias_.defined() && !is_half(activations) && bias_.dtype() != weight_.dtype()) return false;
  if (adapters_.empty() || is_merged()) return is_frozen();
  const WeightedLora& adapter = adapters_.front();
  const bool drops = pass.training && adapter.layer->dropout > 0;
  return adapters_.size() == 1 && adapter.weight == 1 && !adapter.layer->magnitude.defined() &&
         !drops;
}

LoraOperands Linear::operands_for(DType activations) const {
  LoraOperands operands{.weight = weight_for(activations), .lora_a = no_a_, .lora_b = no_b_};
  if (bias_.defined()) operands.bias = cast(bias_, operands.weight.dtype());
  if (adapters_.empty() || is_merged()) return operands;
  const LoraLayer& layer = *adapters_.front().layer;
  operands.lora_a = layer.a;
  operands.lora_b = layer.b;
  operands.scale = layer.scale;
  return operands;
}

// Whether they are worth an op of several layers, and may be in it: where an adapter takes part, or so few rows, as of
// tokens that are decoded, that a launch is a good part of what a product takes.
bool Linear::may_all_join(std::span<const Linear* const> layers, const Tensor& x,
                          const PassContext& pass) {
  constexpr std::int64_t kFewRows = 8;
  const bool adapted = std::ranges::any_of(
      layers, [](const Linear* layer) { return layer->has_adapters() && !layer->is_merged(); });
  const bool few = x.numel() <= kFewRows * layers.front()->in_features();
  return (adapted || few) && std::ranges::all_of(layers, [&](const Linear* layer) {
           return layer->may_join(x.dtype(), pass);
         });
}

std::vector<Tensor> Linear::forward_all(std::span<const Linear* const> layers, const Tensor& x,
                                        const PassContext& pass) {
  if (may_all_join(layers, x, pass)) {
    std::vector<LoraOperands> operands;
    for (const Linear* layer : layers) operands.push_back(layer->operands_for(x.dtype()));
    return lora_linears(x, operands);
  }
  std::vector<Tensor> results;
  for (const Linear* layer : layers) results.push_back(layer->forward(x, pass));
  return results;
}

Tensor Linear::swiglu_mlp(const Linear& gate, const Linear& up, const Linear& down, const Tensor& x,
                          const PassContext& pass) {
  const Linear* const layers[] = {&gate, &up, &down};
  if (may_all_join(layers, x, pass)) {
    return wick::swiglu_mlp(x, gate.operands_for(x.dtype()), up.operands_for(x.dtype()),
                            down.operands_for(x.dtype()));
  }
  const std::vector<Tensor> expanded = forward_all(std::span(layers).first(2), x, pass);
  return down.forward(swiglu(expanded[0], expanded[1]), pass);
}

void Linear::check_fits(const LoraLayer& layer) const {
  const bool fits = layer.a.rank() == 2 && layer.b.rank() == 2 && layer.a.dim(1) == in_features() &&
                    layer.b.dim(0) == out_features() && layer.a.dim(0) == layer.b.dim(1);
  if (!fits) {
    throw Error(ErrorKind::kShape, "set_adapters",
                path_ + ": lora_A must be [r," + std::to_string(in_features()) + "] and lora_B [" +
                    std::to_string(out_features()) + ",r]; got lora_A " +
                    to_string(layer.a.shape()) + ", lora_B " + to_string(layer.b.shape()));
  }
  if (layer.magnitude.defined() && !(layer.magnitude.shape() == Shape{out_features()})) {
    throw Error(ErrorKind::kShape, "set_adapters",
                path_ + ": lora_magnitude_vector must be [" + std::to_string(out_features()) +
                    "], got " + to_string(layer.magnitude.shape()));
  }
}

void Linear::set_adapters(std::vector<WeightedLora> adapters) {
  if (is_merged()) {
    throw Error(ErrorKind::kArgument, "set_adapters",
                path_ + ": adapters are merged into the weight; unmerge first");
  }
  for (const WeightedLora& adapter : adapters) check_fits(*adapter.layer);
  adapters_ = std::move(adapters);
  gains_->clear();
  ++version_;
}

void Linear::drop_adapter(const LoraLayer* layer) {
  std::vector<WeightedLora> kept = adapters_;
  std::erase_if(kept, [&](const WeightedLora& adapter) { return adapter.layer.get() == layer; });
  if (kept.size() != adapters_.size()) set_adapters(std::move(kept));
}

// Some rows at a time: beside the result, no memory of the weight's size is taken.
Tensor Linear::merged_weight() const {
  if (adapters_.empty() || is_merged()) return weight_;
  const NoGradGuard no_gradient;
  std::vector<Tensor> gains(adapters_.size());
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    const LoraLayer& layer = *adapters_[i].layer;
    if (layer.magnitude.defined()) {
      gains[i] = reshape(gains_->of(layer, weight_), {out_features(), 1});
    }
  }
  Tensor merged = Tensor::empty(weight_.shape(), weight_.dtype(), weight_.device());
  const std::int64_t rows = std::max<std::int64_t>(1, kMergedAtOnce / in_features());
  for (std::int64_t begin = 0; begin < out_features(); begin += rows) {
    const std::int64_t end = std::min(out_features(), begin + rows);
    const auto part = [&](const Tensor& x) { return slice(x, 0, begin, end); };
    const Tensor base = cast(part(weight_), DType::kF32);
    Tensor sum = base;
    for (std::size_t i = 0; i < adapters_.size(); ++i) {
      const LoraLayer& layer = *adapters_[i].layer;
      Tensor delta = matmul(part(layer.b), layer.a, {.alpha = layer.scale});
      if (gains[i].defined()) delta = sub(mul(add(base, delta), part(gains[i])), base);
      sum = add(sum, scale(delta, adapters_[i].weight));
    }
    copy_(part(merged), sum);
  }
  return merged;
}

void Linear::merge() {
  if (adapters_.empty() || is_merged()) return;
  Tensor merged = merged_weight();
  weight_before_merge_ = std::exchange(weight_, std::move(merged));
  ++version_;
}

void Linear::unmerge() {
  if (!is_merged()) return;
  weight_ = std::exchange(weight_before_merge_, Tensor());
  ++version_;
}

}  // namespace wick
