#include "ops/softmaxes.hpp"

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/launch.hpp"

namespace wick::detail {

Tensor softmax_along(const Kernel<SoftmaxArgs>& forward,
                     const Kernel<SoftmaxBackwardArgs>& backward, const Tensor& x, int axis) {
  const Check check(forward.name, {{"x", x}});
  check.floating("x", x);
  const int along = check.axis("x", x, axis);
  const Tensor last = move_axis_last(x, along);
  const Tensor rows = as_rows(last);
  const Tensor y = Tensor::empty(rows.shape(), x.dtype(), x.device());
  launch(forward, x.device(), SoftmaxArgs{.x = view(rows), .out = view(y)});
  const Tensor out = move_axis_from_last(with_shape(y, last.shape()), along);
  return record(forward.name, {x}, out, {y}, [along, backward](const BackwardCall& call) {
    const Tensor moved = move_axis_last(call.dy(), along);
    const Tensor dy = dense_rows(moved);
    const Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    launch(backward, dy.device(),
           SoftmaxBackwardArgs{.dy = view(dy), .y = view(call.saved[0]), .dx = view(dx)});
    return std::vector{move_axis_from_last(with_shape(dx, moved.shape()), along)};
  });
}

}  // namespace wick::detail
