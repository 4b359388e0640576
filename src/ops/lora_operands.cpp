#include "ops/lora_operands.hpp"

#include "autograd/tape.hpp"

namespace wick::detail {

void check_lora_operands(const Check& check, const Tensor& x, const Tensor& weight,
                         const Tensor& bias, const Tensor& lora_a, const Tensor& lora_b) {
  check.floating("x", x);
  check.floating("weight", weight);
  check.that(weight.dtype() == x.dtype() || x.dtype() == DType::kF32, ErrorKind::kDtype,
             "weight must have the dtype of x, unless x is f32");
  check.same_dtype("lora_a", lora_a, "lora_b", lora_b);
  check.that(lora_a.dtype() == DType::kF32 || lora_a.dtype() == x.dtype(), ErrorKind::kDtype,
             "lora_a and lora_b must be f32 or have the dtype of x");
  check.that(x.rank() >= 1, ErrorKind::kShape, "x must have at least one dimension");
  check.that(weight.rank() == 2 && weight.dim(1) == x.dim(-1), ErrorKind::kShape,
             "weight must be [N,{}] to match the last axis of x", x.dim(-1));
  check.that(lora_a.rank() == 2 && lora_a.dim(1) == x.dim(-1), ErrorKind::kShape,
             "lora_a must be [r,{}] to match the last axis of x", x.dim(-1));
  check.shape("lora_b", lora_b, {weight.dim(0), lora_a.dim(0)}, "to match weight and lora_a");
  check.that(!needs_gradient({weight}), ErrorKind::kArgument,
             "weight is frozen in this op but requires a gradient (matmul() trains it)");
  if (!bias.defined()) return;
  check.shape("bias", bias, {weight.dim(0)}, "to match weight");
  check.same_dtype("bias", bias, "weight", weight);
}

}  // namespace wick::detail
