#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "ops/norms.hpp"
#include "runtime/args/norm_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

// saved: the sum, weight, inv_rms; outputs: sum, normed; inputs: x, y, weight.
std::vector<Tensor> add_rms_norm_gradient(const detail::BackwardCall& call) {
  const Tensor& dsum = call.grads[0];
  const Tensor& dnormed = call.grads[1];
  if (!dnormed.defined()) return {dsum, dsum, Tensor()};
  const Tensor sum = detail::dense_rows(call.saved[0]);
  const Tensor& weight = call.saved[1];
  const Tensor dy = detail::dense_rows(dnormed);
  const Tensor added = dsum.defined() ? detail::dense_rows(dsum) : dsum;
  Tensor dx;
  Tensor dweight;
  if (call.wanted[0] || call.wanted[1]) dx = Tensor::empty(sum.shape(), sum.dtype(), sum.device());
  if (call.wanted[2]) dweight = Tensor::empty(weight.shape(), weight.dtype(), weight.device());
  launch(kernels::rms_norm_backward, sum.device(),
         RmsNormBackwardArgs{.dy = detail::view(dy),
                             .x = detail::view(sum),
                             .weight = detail::view(weight),
                             .inv_rms = detail::view(call.saved[2]),
                             .dx = detail::view(dx),
                             .dweight = detail::view(dweight),
                             .dsum = detail::view(added)});
  if (dx.defined()) dx = detail::with_shape(dx, dnormed.shape());
  return {call.wanted[0] ? dx : Tensor(), call.wanted[1] ? dx : Tensor(), dweight};
}

}  // namespace

NormedSum add_rms_norm(const Tensor& x, const Tensor& y, const Tensor& weight,
                       const NormOptions& options) {
  const detail::Check check("add_rms_norm", {{"weight", weight}, {"x", x}, {"y", y}});
  detail::check_norm(check, x, weight, options);
  check.shape("y", y, x.shape(), "to be added to x");
  check.same_dtype("x", x, "y", y);
  const Tensor rows = detail::dense_rows(x);
  const Tensor addend = detail::dense_rows(y);
  const Tensor dense_weight = detail::dense(weight);
  NormedSum result{.sum = Tensor::empty(x.shape(), x.dtype(), x.device()),
                   .normed = Tensor::empty(x.shape(), x.dtype(), x.device())};
  Tensor inv_rms;
  if (detail::needs_gradient({x, y, weight})) {
    inv_rms = Tensor::empty({rows.dim(0)}, DType::kF32, x.device());
  }
  const Tensor sum_rows = detail::with_shape(result.sum, rows.shape());
  const Tensor normed_rows = detail::with_shape(result.normed, rows.shape());
  launch(kernels::rms_norm, x.device(),
         RmsNormArgs{.x = detail::view(rows),
                     .weight = detail::view(dense_weight),
                     .out = detail::view(normed_rows),
                     .inv_rms = detail::view(inv_rms),
                     .eps = static_cast<float>(options.eps),
                     .addend = detail::view(addend),
                     .sum = detail::view(sum_rows)});
  detail::offer_recipe("add_rms_norm", result.normed, {result.sum, dense_weight},
                       [options](std::span<const Tensor> inputs) {
                         return rms_norm(inputs[0], inputs[1], options);
                       });
  const Tensor inputs[] = {x, y, weight};
  const Tensor outputs[] = {result.sum, result.normed};
  const Tensor saved[] = {result.sum, dense_weight, inv_rms};
  detail::record("add_rms_norm", inputs, outputs, saved, add_rms_norm_gradient);
  return result;
}

}  // namespace wick
