#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/reductions.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/reduce.hpp"

namespace wick {

Tensor argmax(const Tensor& x, int axis, bool keepdim) {
  const detail::Check check("argmax", {{"x", x}});
  check.number("x", x);
  const int along = check.axis("x", x, axis);
  check.that(x.dim(along) > 0, ErrorKind::kShape, "axis {} is empty", axis);
  detail::forbid_gradient("argmax", {x});

  const Tensor rows = detail::rows_along(x, along);
  Tensor indices = Tensor::empty({rows.dim(0)}, DType::kI64, x.device());
  launch(kernels::argmax, x.device(),
         ArgmaxArgs{.x = detail::view(rows), .indices = detail::view(indices), .values = {}});
  const detail::ReducedAxes axes = detail::reduced_axes(check, x, {.axes = {along}});
  return detail::with_shape(indices, keepdim ? axes.with_ones : axes.kept);
}

}  // namespace wick
