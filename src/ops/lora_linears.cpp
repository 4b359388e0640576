#include <algorithm>

#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/lora_operands.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/lora.hpp"

namespace wick {

namespace {

// Of a layer, among the inputs of the op and among what it saves: where its tensors begin and how many they are.
constexpr std::size_t kInputs = 3;
constexpr std::size_t kSaved = 5;
std::size_t input_of(std::size_t layer) { return 1 + kInputs * layer; }
std::size_t saved_of(std::size_t layer) { return 1 + kSaved * layer; }

void check_layers(const Tensor& x, const std::vector<LoraOperands>& layers) {
  const detail::Check call("lora_linears", {{"x", x}});
  call.that(!layers.empty() && layers.size() <= kMostLoraLinears, ErrorKind::kArgument,
            "there must be one to {} layers, got {}", kMostLoraLinears, layers.size());
  for (const auto& [weight, bias, lora_a, lora_b, scale] : layers) {
    const detail::Check check("lora_linears", {{"x", x},
                                               {"weight", weight},
                                               {"bias", bias, true},
                                               {"lora_a", lora_a},
                                               {"lora_b", lora_b}});
    detail::check_lora_operands(check, x, weight, bias, lora_a, lora_b);
  }
}

// saved: x rows, then of each layer weight, lora_a, lora_b, xa, bias; inputs: x, then of each layer bias, lora_a, lora_b.
std::vector<Tensor> lora_linears_gradient(const detail::BackwardCall& call,
                                          const std::vector<float>& scales) {
  const Tensor& x = call.saved[0];
  std::vector<Tensor> grads(call.wanted.size());
  const auto make_gradient = [&](std::size_t input, const Tensor& like) {
    if (call.wanted[input]) grads[input] = Tensor::empty(like.shape(), like.dtype(), like.device());
    return detail::view(grads[input]);
  };
  const TensorView dx = make_gradient(0, x);
  LoraLinearsBackwardArgs args;
  std::vector<Tensor> cotangents;  // while the kernel is enqueued
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (!call.grads[i].defined()) continue;  // nothing depends on this layer
    const auto saved = call.saved.subspan(saved_of(i), kSaved);
    cotangents.push_back(detail::dense_rows(call.grads[i]));
    args.each[args.count++] = {.dy = detail::view(cotangents.back()),
                               .x = detail::view(x),
                               .w = detail::view(saved[0]),
                               .a = detail::view(saved[1]),
                               .b = detail::view(saved[2]),
                               .xa = detail::view(saved[3]),
                               .dx = dx,
                               .da = make_gradient(input_of(i) + 1, saved[1]),
                               .db = make_gradient(input_of(i) + 2, saved[2]),
                               .dbias = make_gradient(input_of(i), saved[4]),
                               .scale = scales[i]};
  }
  launch(kernels::lora_linears_backward, x.device(), args);
  if (call.wanted[0]) {
    const auto given = std::ranges::find_if(call.grads, &Tensor::defined);
    grads[0] = detail::with_shape(
        grads[0], detail::with_last(detail::without_last(given->shape()), x.dim(1)));
  }
  return grads;
}

}  // namespace

std::vector<Tensor> lora_linears(const Tensor& x, const std::vector<LoraOperands>& layers) {
  check_layers(x, layers);
  const Tensor rows = detail::dense_rows(x);
  std::vector<Tensor> inputs{x};
  std::vector<Tensor> saved{rows};
  std::vector<Tensor> outputs;
  std::vector<float> scales;
  LoraLinearsArgs args;
  for (const LoraOperands& layer : layers) {
    const Tensor w = detail::dense(layer.weight);
    const Tensor a = detail::dense(layer.lora_a);
    const Tensor b = detail::dense(layer.lora_b);
    const Tensor bias = layer.bias.defined() ? detail::dense(layer.bias) : layer.bias;
    Tensor xa;
    if (detail::needs_gradient({layer.lora_b})) {
      xa = Tensor::empty({rows.dim(0), a.dim(0)}, DType::kF32, x.device());
    }
    outputs.push_back(
        Tensor::empty(detail::with_dim(x.shape(), x.rank() - 1, w.dim(0)), x.dtype(), x.device()));
    scales.push_back(static_cast<float>(layer.scale));
    inputs.insert(inputs.end(), {layer.bias, layer.lora_a, layer.lora_b});
    saved.insert(saved.end(), {w, a, b, xa, bias});
    args.each[args.count++] = {
        .x = detail::view(rows),
        .w = detail::view(w),
        .bias = detail::view(bias),
        .a = detail::view(a),
        .b = detail::view(b),
        .out = detail::view(detail::with_shape(outputs.back(), {rows.dim(0), w.dim(0)})),
        .xa = detail::view(xa),
        .scale = scales.back()};
  }
  launch(kernels::lora_linears, x.device(), args);
  detail::record(
      "lora_linears", inputs, outputs, saved,
      [scales](const detail::BackwardCall& call) { return lora_linears_gradient(call, scales); });
  return outputs;
}

}  // namespace wick
