#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "ops/norms.hpp"
#include "runtime/args/norm_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

std::vector<Tensor> layer_norm_gradient(const detail::BackwardCall& call) {
  const Tensor x = detail::as_rows(call.saved[0]);
  const Tensor& weight = call.saved[1];
  const Tensor dy = detail::dense_rows(call.dy());
  std::vector<Tensor> grads(3);
  if (call.wanted[0]) grads[0] = Tensor::empty(x.shape(), x.dtype(), x.device());
  for (const std::size_t i : {1, 2}) {
    if (call.wanted[i]) grads[i] = Tensor::empty(weight.shape(), weight.dtype(), x.device());
  }
  launch(kernels::layer_norm_backward, x.device(),
         LayerNormBackwardArgs{.dy = detail::view(dy),
                               .x = detail::view(x),
                               .weight = detail::view(weight),
                               .mean = detail::view(call.saved[2]),
                               .inv_std = detail::view(call.saved[3]),
                               .dx = detail::view(grads[0]),
                               .dweight = detail::view(grads[1]),
                               .dbias = detail::view(grads[2])});
  if (call.wanted[0]) grads[0] = detail::with_shape(grads[0], call.dy().shape());
  return grads;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const NormOptions& options) {
  const detail::Check check("layer_norm", {{"weight", weight}, {"bias", bias, true}, {"x", x}});
  detail::check_norm(check, x, weight, options);
  if (bias.defined()) {
    check.shape("bias", bias, weight.shape(), "to match weight");
    check.same_dtype("bias", bias, "weight", weight);
  }
  const Tensor rows = detail::as_rows(x);
  const Tensor dense_weight = detail::dense(weight);
  const Tensor dense_bias = bias.defined() ? detail::dense(bias) : bias;
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor mean;
  Tensor inv_std;
  if (detail::needs_gradient({x, weight, bias})) {
    mean = Tensor::empty({rows.dim(0)}, DType::kF32, x.device());
    inv_std = Tensor::empty({rows.dim(0)}, DType::kF32, x.device());
  }
  const Tensor out_rows = detail::with_shape(out, rows.shape());
  launch(kernels::layer_norm, x.device(),
         LayerNormArgs{.x = detail::view(rows),
                       .weight = detail::view(dense_weight),
                       .bias = detail::view(dense_bias),
                       .out = detail::view(out_rows),
                       .mean = detail::view(mean),
                       .inv_std = detail::view(inv_std),
                       .eps = static_cast<float>(options.eps)});
  return detail::record("layer_norm", {x, weight, bias}, out, {x, dense_weight, mean, inv_std},
                        layer_norm_gradient);
}

}  // namespace wick
