#include <algorithm>
#include <array>

#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/lora_operands.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/lora.hpp"

namespace wick {

namespace {

// Layers are gate, up, down. inputs: x, then of each bias, lora_a, lora_b; saved: x, gate(x), up(x) and their swiglu, which
// is made again where it is undefined, as rows, then of each layer weight, lora_a, lora_b, xa, bias.
constexpr std::size_t kInputs = 3;
constexpr std::size_t kSaved = 5;
constexpr std::size_t kRows = 4;
constexpr std::size_t kDown = 2;
using Scales = std::array<float, 3>;

void check_layer(const Tensor& x, const LoraOperands& layer) {
  const detail::Check check("swiglu_mlp", {{"x", x},
                                           {"weight", layer.weight},
                                           {"bias", layer.bias, true},
                                           {"lora_a", layer.lora_a},
                                           {"lora_b", layer.lora_b}});
  detail::check_lora_operands(check, x, layer.weight, layer.bias, layer.lora_a, layer.lora_b);
}

// Whether the device has it; then it is enqueued.
template <class Args>
bool enqueue_if_supported(const Kernel<Args>& kernel, Device device, const Args& args) {
  const KernelStatus status = try_launch(kernel, device, args);
  if (status.is_unsupported()) return false;
  if (!status.is_ok()) throw_refused(kernel.name, device, status, describe(args));
  return true;
}

// A layer's operands, dense, in the order in which they are saved.
std::array<Tensor, kSaved> dense_operands(const LoraOperands& layer, std::int64_t M) {
  Tensor xa;
  if (detail::needs_gradient({layer.lora_b})) {
    xa = Tensor::empty({M, layer.lora_a.dim(0)}, DType::kF32, layer.lora_a.device());
  }
  return {detail::dense(layer.weight), detail::dense(layer.lora_a), detail::dense(layer.lora_b), xa,
          layer.bias.defined() ? detail::dense(layer.bias) : layer.bias};
}

LoraLinearArgs forward_args(const std::array<Tensor, kSaved>& layer, const Tensor& x,
                            const Tensor& out, float scale) {
  return {.x = detail::view(x),
          .w = detail::view(layer[0]),
          .bias = detail::view(layer[4]),
          .a = detail::view(layer[1]),
          .b = detail::view(layer[2]),
          .out = detail::view(out),
          .xa = detail::view(layer[3]),
          .scale = scale};
}

// Makes gate(x), up(x) and their swiglu.
void expand(const LoraLinearArgs& gate, const LoraLinearArgs& up, const Tensor& h) {
  const Device device = h.device();
  const LoraSwigluArgs args{.gate = gate, .up = up, .h = detail::view(h)};
  if (enqueue_if_supported(kernels::lora_swiglu, device, args)) return;
  LoraLinearsArgs layers;
  layers.each = {gate, up, {}};
  layers.count = 2;
  launch(kernels::lora_linears, device, layers);
  launch(kernels::swiglu, device, SwigluArgs{.gate = gate.out, .up = up.out, .out = args.h});
}

void make_swiglu(const LoraSwigluBackwardArgs& args, Device device) {
  if (!args.makes_h) return;
  launch(kernels::swiglu, device, SwigluArgs{.gate = args.gate, .up = args.up, .out = args.down.x});
}

// The gradients of down's parameters, and those of gate(x) and up(x).
void contract_backward(const LoraSwigluBackwardArgs& args, Device device) {
  if (enqueue_if_supported(kernels::lora_swiglu_backward, device, args)) return;
  make_swiglu(args, device);
  const Tensor dh = Tensor::empty(args.gate.shape, args.gate.dtype, device);
  LoraLinearBackwardArgs down = args.down;
  down.dx = detail::view(dh);
  launch(kernels::lora_linear_backward, device, down);
  launch(
      kernels::swiglu_backward, device,
      SwigluBackwardArgs{
          .dy = down.dx, .gate = args.gate, .up = args.up, .dgate = args.dgate, .dup = args.dup});
}

std::vector<Tensor> swiglu_mlp_gradient(const detail::BackwardCall& call, const Scales& scales) {
  const Tensor& x = call.saved[0];
  const Tensor& gate = call.saved[1];
  const Tensor dy = detail::dense_rows(call.dy());
  std::vector<Tensor> grads(call.wanted.size());
  const auto make_gradient = [&](std::size_t input, const Tensor& like) {
    if (call.wanted[input]) grads[input] = Tensor::empty(like.shape(), like.dtype(), like.device());
    return detail::view(grads[input]);
  };
  const auto backward_args = [&](std::size_t i, const Tensor& cotangent, const Tensor& input) {
    const auto saved = call.saved.subspan(kRows + kSaved * i, kSaved);
    return LoraLinearBackwardArgs{.dy = detail::view(cotangent),
                                  .x = detail::view(input),
                                  .w = detail::view(saved[0]),
                                  .a = detail::view(saved[1]),
                                  .b = detail::view(saved[2]),
                                  .xa = detail::view(saved[3]),
                                  .da = make_gradient(kInputs * i + 2, saved[1]),
                                  .db = make_gradient(kInputs * i + 3, saved[2]),
                                  .dbias = make_gradient(kInputs * i + 1, saved[4]),
                                  .scale = scales[i]};
  };
  const auto like_gate = [&] { return Tensor::empty(gate.shape(), gate.dtype(), gate.device()); };
  const bool makes_h = !call.saved[3].defined();
  const Tensor h = makes_h ? like_gate() : call.saved[3];
  LoraSwigluBackwardArgs contraction{.down = backward_args(kDown, dy, h),
                                     .gate = detail::view(gate),
                                     .up = detail::view(call.saved[2]),
                                     .dgate = {},
                                     .dup = {},
                                     .makes_h = makes_h};
  const auto first_of_down = call.wanted.begin() + 1 + kInputs * kDown;
  if (std::find(call.wanted.begin(), first_of_down, true) == first_of_down) {
    make_swiglu(contraction, x.device());
    launch(kernels::lora_linear_backward, x.device(), contraction.down);
    return grads;
  }
  const Tensor dgate = like_gate();
  const Tensor dup = like_gate();
  contraction.dgate = detail::view(dgate);
  contraction.dup = detail::view(dup);
  contract_backward(contraction, x.device());
  LoraLinearsBackwardArgs layers;
  layers.each = {backward_args(0, dgate, x), backward_args(1, dup, x), {}};
  layers.count = 2;
  layers.each[0].dx = make_gradient(0, x);
  layers.each[1].dx = layers.each[0].dx;
  launch(kernels::lora_linears_backward, x.device(), layers);
  if (call.wanted[0]) {
    grads[0] = detail::with_shape(
        grads[0], detail::with_last(detail::without_last(call.dy().shape()), x.dim(1)));
  }
  return grads;
}

}  // namespace

Tensor swiglu_mlp(const Tensor& x, const LoraOperands& gate, const LoraOperands& up,
                  const LoraOperands& down) {
  check_layer(x, gate);
  check_layer(x, up);
  const detail::Check check("swiglu_mlp", {{"gate", gate.weight}, {"up", up.weight}});
  check.shape("up", up.weight, gate.weight.shape(), "to match gate");
  const Tensor rows = detail::dense_rows(x);
  const std::int64_t M = rows.dim(0);
  const auto make_rows = [&](std::int64_t columns) {
    return Tensor::empty({M, columns}, x.dtype(), x.device());
  };
  const Tensor h = make_rows(gate.weight.dim(0));
  check_layer(h, down);
  const Tensor gate_out = make_rows(h.dim(1));
  const Tensor up_out = make_rows(h.dim(1));
  const Tensor out = make_rows(down.weight.dim(0));

  const LoraOperands* const layers[] = {&gate, &up, &down};
  std::array<std::array<Tensor, kSaved>, 3> operands;
  Scales scales{};
  std::vector<Tensor> inputs{x};
  std::vector<Tensor> saved{rows, gate_out, up_out, detail::recomputes() ? Tensor() : h};
  for (std::size_t i = 0; i < operands.size(); ++i) {
    operands[i] = dense_operands(*layers[i], M);
    scales[i] = static_cast<float>(layers[i]->scale);
    inputs.insert(inputs.end(), {layers[i]->bias, layers[i]->lora_a, layers[i]->lora_b});
    saved.insert(saved.end(), operands[i].begin(), operands[i].end());
  }
  expand(forward_args(operands[0], rows, gate_out, scales[0]),
         forward_args(operands[1], rows, up_out, scales[1]), h);
  launch(kernels::lora_linear, x.device(), forward_args(operands[kDown], h, out, scales[kDown]));
  const Tensor result =
      detail::with_shape(out, detail::with_dim(x.shape(), x.rank() - 1, out.dim(1)));
  detail::record(
      "swiglu_mlp", inputs, std::array{result}, saved,
      [scales](const detail::BackwardCall& call) { return swiglu_mlp_gradient(call, scales); });
  return result;
}

}  // namespace wick
