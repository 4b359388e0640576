#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/reductions.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/reduce.hpp"

namespace wick {

ValuesAndIndices max(const Tensor& x, int axis, bool keepdim) {
  const detail::Check check("max", {{"x", x}});
  check.number("x", x);
  const int along = check.axis("x", x, axis);
  check.that(x.dim(along) > 0, ErrorKind::kShape, "axis {} is empty", axis);

  const Tensor rows = detail::rows_along(x, along);
  const Shape found{rows.dim(0), 1};
  Tensor values = Tensor::empty(found, x.dtype(), x.device());
  Tensor indices = Tensor::empty(found, DType::kI64, x.device());
  const Tensor flat_values = detail::with_shape(values, {rows.dim(0)});
  const Tensor flat_indices = detail::with_shape(indices, {rows.dim(0)});
  launch(kernels::argmax, x.device(),
         ArgmaxArgs{.x = detail::view(rows),
                    .indices = detail::view(flat_indices),
                    .values = detail::view(flat_values)});

  const Shape with_one = detail::with_dim(x.shape(), along, 1);
  const Tensor kept_indices = detail::with_shape(indices, with_one);
  const Shape shape = keepdim ? with_one : detail::reduced_axes(check, x, {.axes = {along}}).kept;
  ValuesAndIndices result{.values = detail::with_shape(values, shape),
                          .indices = detail::with_shape(indices, shape)};
  detail::record("max", {x}, result.values, {kept_indices},
                 [along, with_one, from = x.shape()](const detail::BackwardCall& call) {
                   const Tensor dy = detail::with_shape(detail::dense(call.dy()), with_one);
                   return std::vector{detail::scatter_gradient(dy, call.saved[0], from, along)};
                 });
  return result;
}

}  // namespace wick
