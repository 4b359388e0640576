#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/move.hpp"

namespace wick {

Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step) {
  const detail::Check check("slice", {{"x", x}});
  const int along = check.axis("x", x, axis);
  check.that(0 <= begin && begin <= end && end <= x.dim(along), ErrorKind::kArgument,
             "the range {}:{} must lie in 0:{}", begin, end, x.dim(along));
  check.that(step >= 1, ErrorKind::kArgument, "step must be at least 1, got {}", step);
  const Tensor out = detail::with_layout(x, slice(detail::layout_of(x), along, begin, end, step));
  return detail::record("slice", {x}, out, {},
                        [=, shape = x.shape()](const detail::BackwardCall& call) {
                          const Tensor& dy = call.dy();
                          Tensor dx = Tensor::zeros(shape, dy.dtype(), dy.device());
                          const Layout part = slice(detail::layout_of(dx), along, begin, end, step);
                          launch(kernels::copy, dy.device(),
                                 CopyArgs{.src = detail::view(dy), .dst = detail::view(dx, part)});
                          return std::vector{dx};
                        });
}

}  // namespace wick
