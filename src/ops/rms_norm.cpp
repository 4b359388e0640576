#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "ops/norms.hpp"
#include "runtime/args/norm_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

std::vector<Tensor> rms_norm_gradient(const detail::BackwardCall& call) {
  const Tensor x = detail::as_rows(call.saved[0]);
  const Tensor& weight = call.saved[1];
  const Tensor dy = detail::dense_rows(call.dy());
  std::vector<Tensor> grads(2);
  if (call.wanted[0]) grads[0] = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (call.wanted[1]) grads[1] = Tensor::empty(weight.shape(), weight.dtype(), x.device());
  launch(kernels::rms_norm_backward, x.device(),
         RmsNormBackwardArgs{.dy = detail::view(dy),
                             .x = detail::view(x),
                             .weight = detail::view(weight),
                             .inv_rms = detail::view(call.saved[2]),
                             .dx = detail::view(grads[0]),
                             .dweight = detail::view(grads[1])});
  if (call.wanted[0]) grads[0] = detail::with_shape(grads[0], call.dy().shape());
  return grads;
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, const NormOptions& options) {
  const detail::Check check("rms_norm", {{"weight", weight}, {"x", x}});
  detail::check_norm(check, x, weight, options);
  const Tensor rows = detail::as_rows(x);
  const Tensor dense_weight = detail::dense(weight);
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  Tensor inv_rms;
  if (detail::needs_gradient({x, weight})) {
    inv_rms = Tensor::empty({rows.dim(0)}, DType::kF32, x.device());
  }
  const Tensor out_rows = detail::with_shape(out, rows.shape());
  launch(kernels::rms_norm, x.device(),
         RmsNormArgs{.x = detail::view(rows),
                     .weight = detail::view(dense_weight),
                     .out = detail::view(out_rows),
                     .inv_rms = detail::view(inv_rms),
                     .eps = static_cast<float>(options.eps)});
  detail::offer_recipe("rms_norm", out, {x, dense_weight},
                       [options](std::span<const Tensor> inputs) {
                         return rms_norm(inputs[0], inputs[1], options);
                       });
  return detail::record("rms_norm", {x, weight}, out, {x, dense_weight, inv_rms},
                        rms_norm_gradient);
}

}  // namespace wick
