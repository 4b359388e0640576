#include "wick/nn/linear.hpp"

#include <algorithm>
#include <utility>

#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/lora.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick {

namespace {

Tensor with_bias(const Tensor& y, const Tensor& bias) {
  return bias.defined() ? add(y, cast(bias, y.dtype())) : y;
}

// s (x Aᵀ) Bᵀ
Tensor low_rank(const Tensor& x, const LoraLayer& layer) {
  const Tensor xa = matmul(x, layer.a, {.transpose_b = true});
  return cast(matmul(xa, layer.b, {.transpose_b = true, .alpha = layer.scale}), x.dtype());
}

void check_fits(const Linear& linear, const LoraLayer& layer) {
  const bool fits = layer.a.rank() == 2 && layer.b.rank() == 2 &&
                    layer.a.dim(1) == linear.in_features() &&
                    layer.b.dim(0) == linear.out_features() && layer.a.dim(0) == layer.b.dim(1);
  if (fits) return;
  throw Error(ErrorKind::kShape, "set_adapters",
              linear.path() + ": lora_A must be [r," + std::to_string(linear.in_features()) +
                  "] and lora_B [" + std::to_string(linear.out_features()) + ",r]; got lora_A " +
                  to_string(layer.a.shape()) + ", lora_B " + to_string(layer.b.shape()));
}

}  // namespace

Linear::Linear(std::string path, std::uint64_t index, Tensor weight, Tensor bias)
    : path_(std::move(path)),
      index_(index),
      weight_(std::move(weight)),
      bias_(std::move(bias)),
      no_a_(Tensor::zeros({0, weight_.dim(1)}, DType::kF32, weight_.device())),
      no_b_(Tensor::zeros({weight_.dim(0), 0}, DType::kF32, weight_.device())) {}

Tensor Linear::plain(const Tensor& x) const {
  const bool trained = weight_.requires_grad() || (bias_.defined() && bias_.requires_grad());
  // A frozen product with a bias in one kernel: the adapter of rank 0.
  if (bias_.defined() && !trained) return lora_linear(x, weight_, bias_, no_a_, no_b_);
  return with_bias(matmul(x, weight_, {.transpose_b = true}), bias_);
}

Tensor Linear::dora(const Tensor& x, const PassContext& pass, const LoraLayer& layer) const {
  const Tensor gain = dora_gain(layer.magnitude, weight_, layer.a, layer.b, layer.scale);
  if (!pass.training || layer.dropout == 0) {
    const LoraOptions options{.scale = layer.scale};
    const Tensor y = lora_linear(x, weight_, Tensor(), layer.a, layer.b, options);
    return with_bias(mul(y, cast(gain, y.dtype())), bias_);
  }
  // With dropout the undropped input keeps the plain layer; everything that the adapter changes sees the
  // dropped one.
  const Tensor dropped = dropout(x, layer.dropout, pass.key_of(index_));
  const Tensor base = matmul(dropped, weight_, {.transpose_b = true});
  const Tensor scaled = mul(add(base, low_rank(dropped, layer)), cast(gain, base.dtype()));
  return add(plain(x), sub(scaled, base));
}

Tensor Linear::adapted(const Tensor& x, const PassContext& pass, const LoraLayer& layer) const {
  if (layer.magnitude.defined()) return dora(x, pass, layer);
  LoraOptions options{.scale = layer.scale};
  if (pass.training) {
    options.dropout = layer.dropout;
    options.key = pass.key_of(index_);
  }
  return lora_linear(x, weight_, bias_, layer.a, layer.b, options);
}

Tensor Linear::mixed(const Tensor& x) const {
  const NoGradGuard adapters_are_fixed;
  const Tensor base = matmul(x, weight_, {.transpose_b = true});
  Tensor y = with_bias(base, bias_);
  for (const WeightedLora& adapter : adapters_) {
    const LoraLayer& layer = *adapter.layer;
    Tensor delta = low_rank(x, layer);
    if (layer.magnitude.defined()) {
      const Tensor gain = dora_gain(layer.magnitude, weight_, layer.a, layer.b, layer.scale);
      delta = sub(mul(add(base, delta), cast(gain, base.dtype())), base);
    }
    y = add(y, scale(delta, adapter.weight));
  }
  return y;
}

Tensor Linear::forward(const Tensor& x, const PassContext& pass) const {
  if (adapters_.empty() || weight_before_merge_.defined()) return plain(x);
  if (adapters_.size() == 1 && adapters_[0].weight == 1) {
    return adapted(x, pass, *adapters_[0].layer);
  }
  return mixed(x);
}

void Linear::set_adapters(std::vector<WeightedLora> adapters) {
  if (weight_before_merge_.defined()) {
    throw Error(ErrorKind::kArgument, "set_adapters",
                path_ + ": adapters are merged into the weight; unmerge first");
  }
  for (const WeightedLora& adapter : adapters) check_fits(*this, *adapter.layer);
  adapters_ = std::move(adapters);
}

void Linear::drop_adapter(const LoraLayer* layer) {
  std::vector<WeightedLora> kept = adapters_;
  std::erase_if(kept, [&](const WeightedLora& adapter) { return adapter.layer.get() == layer; });
  if (kept.size() != adapters_.size()) set_adapters(std::move(kept));
}

Tensor Linear::merged_weight() const {
  const NoGradGuard no_gradient;
  const Tensor base = cast(weight_, DType::kF32);
  Tensor sum = base;
  for (const WeightedLora& adapter : adapters_) {
    const LoraLayer& layer = *adapter.layer;
    Tensor delta = matmul(layer.b, layer.a, {.alpha = layer.scale});
    if (layer.magnitude.defined()) {
      const Tensor gain = dora_gain(layer.magnitude, weight_, layer.a, layer.b, layer.scale);
      delta = sub(mul(add(base, delta), reshape(gain, {gain.dim(0), 1})), base);
    }
    sum = add(sum, scale(delta, adapter.weight));
  }
  return cast(sum, weight_.dtype());
}

void Linear::merge() {
  if (adapters_.empty() || weight_before_merge_.defined()) return;
  Tensor merged = merged_weight();
  weight_before_merge_ = std::exchange(weight_, std::move(merged));
}

void Linear::unmerge() {
  if (!weight_before_merge_.defined()) return;
  weight_ = std::exchange(weight_before_merge_, Tensor());
}

}  // namespace wick
