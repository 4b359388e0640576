#include "autograd/tape.hpp"
#include "ops/reductions.hpp"
#include "wick/ops/reduce.hpp"

namespace wick {

Tensor mean(const Tensor& x, const ReduceOptions& options) {
  const detail::Check check("mean", {{"x", x}});
  check.floating("x", x);
  const detail::ReducedAxes axes = detail::reduced_axes(check, x, options);
  check.that(axes.count > 0, ErrorKind::kShape, "the mean of no elements is not defined");
  const double factor = 1 / static_cast<double>(axes.count);
  const Tensor out = detail::reduce_sum(x, axes, options.keepdim, factor);
  return detail::record(
      "mean", {x}, out, {}, [axes, factor, shape = x.shape()](const detail::BackwardCall& call) {
        return std::vector{detail::expand_gradient(call.dy(), axes, shape, factor)};
      });
}

}  // namespace wick
