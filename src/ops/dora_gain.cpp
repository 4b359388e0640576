#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/dora_gain_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/lora.hpp"

namespace wick {

namespace {

void check_operands(const detail::Check& check, const Tensor& magnitude, const Tensor& weight,
                    const Tensor& lora_a, const Tensor& lora_b) {
  check.that(magnitude.dtype() == DType::kF32, ErrorKind::kDtype, "magnitude must be f32");
  check.floating("weight", weight);
  check.same_dtype("lora_a", lora_a, "lora_b", lora_b);
  check.that(lora_a.dtype() == DType::kF32 || lora_a.dtype() == weight.dtype(), ErrorKind::kDtype,
             "lora_a and lora_b must be f32 or have the dtype of weight");
  check.that(weight.rank() == 2, ErrorKind::kShape, "weight must have two dimensions");
  check.shape("magnitude", magnitude, {weight.dim(0)}, "to match the rows of weight");
  check.that(lora_a.rank() == 2 && lora_a.dim(1) == weight.dim(1), ErrorKind::kShape,
             "lora_a must be [r,{}] to match the last axis of weight", weight.dim(1));
  check.shape("lora_b", lora_b, {weight.dim(0), lora_a.dim(0)}, "to match weight and lora_a");
  check.that(!detail::needs_gradient({weight}), ErrorKind::kArgument,
             "weight is frozen in this op but requires a gradient");
}

std::vector<Tensor> dora_gain_gradient(const detail::BackwardCall& call) {
  const Tensor dy = detail::dense(call.dy());
  Tensor dmagnitude = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  launch(kernels::dora_gain_backward, dy.device(),
         DoraGainBackwardArgs{.dy = detail::view(dy),
                              .norm = detail::view(call.saved[0]),
                              .dmagnitude = detail::view(dmagnitude)});
  return {dmagnitude};
}

}  // namespace

Tensor dora_gain(const Tensor& magnitude, const Tensor& weight, const Tensor& lora_a,
                 const Tensor& lora_b, double scale) {
  const detail::Check check(
      "dora_gain",
      {{"magnitude", magnitude}, {"weight", weight}, {"lora_a", lora_a}, {"lora_b", lora_b}});
  check_operands(check, magnitude, weight, lora_a, lora_b);

  const Tensor m = detail::dense(magnitude);
  const Tensor w = detail::as_rows(weight);
  const Tensor a = detail::dense(lora_a);
  const Tensor b = detail::dense(lora_b);
  Tensor norm;
  if (detail::needs_gradient({magnitude})) {
    norm = Tensor::empty(m.shape(), DType::kF32, m.device());
  }
  Tensor out = Tensor::empty(m.shape(), DType::kF32, m.device());
  launch(kernels::dora_gain, m.device(),
         DoraGainArgs{.magnitude = detail::view(m),
                      .w = detail::view(w),
                      .a = detail::view(a),
                      .b = detail::view(b),
                      .out = detail::view(out),
                      .norm = detail::view(norm),
                      .scale = static_cast<float>(scale)});
  // The norm is a constant: of what it is made of, nothing is an input of the recorded op.
  return detail::record("dora_gain", {magnitude}, out, {norm}, dora_gain_gradient);
}

}  // namespace wick
