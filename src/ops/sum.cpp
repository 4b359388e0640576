#include "autograd/tape.hpp"
#include "ops/reductions.hpp"
#include "wick/ops/reduce.hpp"

namespace wick {

Tensor sum(const Tensor& x, const ReduceOptions& options) {
  const detail::Check check("sum", {{"x", x}});
  check.number("x", x);
  const detail::ReducedAxes axes = detail::reduced_axes(check, x, options);
  const Tensor out = detail::reduce_sum(x, axes, options.keepdim, 1);
  return detail::record("sum", {x}, out, {},
                        [axes, shape = x.shape()](const detail::BackwardCall& call) {
                          return std::vector{detail::expand_gradient(call.dy(), axes, shape, 1)};
                        });
}

}  // namespace wick
