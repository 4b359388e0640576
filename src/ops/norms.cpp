#include "ops/norms.hpp"

#include <cmath>

namespace wick::detail {

void check_norm(const Check& check, const Tensor& x, const Tensor& weight,
                const NormOptions& options) {
  check.floating("x", x);
  check.that(x.rank() >= 1 && x.dim(-1) >= 1, ErrorKind::kShape,
             "x must have a last axis of at least one element");
  check.shape("weight", weight, {x.dim(-1)}, "to match the last axis of x");
  check.that(weight.dtype() == x.dtype() || weight.dtype() == DType::kF32, ErrorKind::kDtype,
             "weight must be f32 or have the dtype of x");
  check.that(std::isfinite(options.eps) && options.eps >= 0, ErrorKind::kArgument,
             "eps must be finite and not negative, got {}", options.eps);
}

}  // namespace wick::detail
