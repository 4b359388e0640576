#include <string>

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "ops/lora_operands.hpp"
#include "ops/random_key.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/lora.hpp"

namespace wick {

namespace {

void check_options(const detail::Check& check, const LoraOptions& options) {
  check.that(options.dropout >= 0 && options.dropout < 1, ErrorKind::kArgument,
             "dropout must be in [0, 1), got {}", options.dropout);
}

// What the gradient needs of the options; the tensors come back with the saved ones.
struct Constants {
  float scale;
  double dropout;
  detail::SavedKey key;
};

// saved: x rows, weight, lora_a, lora_b, xa, offset_base, bias; inputs: x, bias, lora_a, lora_b.
std::vector<Tensor> lora_linear_gradient(const detail::BackwardCall& call,
                                         const Constants& constants) {
  const Tensor dy = detail::dense_rows(call.dy());
  const auto gradient_like = [&](std::size_t input, const Tensor& like) {
    return call.wanted[input] ? Tensor::empty(like.shape(), like.dtype(), like.device()) : Tensor();
  };
  const Tensor& x = call.saved[0];
  const Tensor& bias = call.saved[6];
  std::vector<Tensor> grads{gradient_like(0, x), gradient_like(1, bias),
                            gradient_like(2, call.saved[2]), gradient_like(3, call.saved[3])};
  launch(kernels::lora_linear_backward, dy.device(),
         LoraLinearBackwardArgs{.dy = detail::view(dy),
                                .x = detail::view(x),
                                .w = detail::view(call.saved[1]),
                                .a = detail::view(call.saved[2]),
                                .b = detail::view(call.saved[3]),
                                .xa = detail::view(call.saved[4]),
                                .dx = detail::view(grads[0]),
                                .da = detail::view(grads[2]),
                                .db = detail::view(grads[3]),
                                .dbias = detail::view(grads[1]),
                                .scale = constants.scale,
                                .dropout_p = constants.dropout,
                                .key = constants.key.with(call.saved[5])});
  if (call.wanted[0]) {
    grads[0] = detail::with_shape(
        grads[0], detail::with_dim(call.dy().shape(), call.dy().rank() - 1, x.dim(1)));
  }
  return grads;
}

}  // namespace

Tensor lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& lora_a,
                   const Tensor& lora_b, const LoraOptions& options) {
  const detail::Check check(
      "lora_linear",
      {{"x", x}, {"weight", weight}, {"bias", bias, true}, {"lora_a", lora_a}, {"lora_b", lora_b}});
  detail::check_lora_operands(check, x, weight, bias, lora_a, lora_b);
  check_options(check, options);
  const RandomKeyArgs key = detail::key_args(check, options.key, x.device());
  const Constants constants{static_cast<float>(options.scale), options.dropout,
                            detail::SavedKey(options.key)};

  const Tensor rows = detail::dense_rows(x);
  const Tensor w = detail::dense(weight);
  const Tensor a = detail::dense(lora_a);
  const Tensor b = detail::dense(lora_b);
  const Tensor offset = bias.defined() ? detail::dense(bias) : bias;
  Tensor xa;
  if (detail::needs_gradient({lora_b})) {
    xa = Tensor::empty({rows.dim(0), a.dim(0)}, DType::kF32, x.device());
  }
  Tensor out =
      Tensor::empty(detail::with_dim(x.shape(), x.rank() - 1, w.dim(0)), x.dtype(), x.device());
  const Tensor out_rows = detail::with_shape(out, {rows.dim(0), w.dim(0)});
  launch(kernels::lora_linear, x.device(),
         LoraLinearArgs{.x = detail::view(rows),
                        .w = detail::view(w),
                        .bias = detail::view(offset),
                        .a = detail::view(a),
                        .b = detail::view(b),
                        .out = detail::view(out_rows),
                        .xa = detail::view(xa),
                        .scale = constants.scale,
                        .dropout_p = constants.dropout,
                        .key = key});
  return detail::record("lora_linear", {x, bias, lora_a, lora_b}, out,
                        {rows, w, a, b, xa, options.key.offset_base, bias},
                        [constants](const detail::BackwardCall& call) {
                          return lora_linear_gradient(call, constants);
                        });
}

}  // namespace wick
