#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick {

Tensor scale(const Tensor& x, double factor) {
  const detail::Check check("scale", {{"x", x}});
  check.floating("x", x);
  const Tensor source = detail::dense(x);
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch(kernels::scale, x.device(),
         ScaleArgs{.x = detail::view(source), .out = detail::view(out), .factor = factor});
  return detail::record("scale", {x}, out, {}, [factor](const detail::BackwardCall& call) {
    return std::vector{scale(call.dy(), factor)};
  });
}

}  // namespace wick
