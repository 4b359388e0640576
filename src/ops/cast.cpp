#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/move.hpp"

namespace wick {

Tensor cast(const Tensor& x, DType dtype) {
  const detail::Check check("cast", {{"x", x}});
  if (x.dtype() == dtype) return x;
  Tensor out = Tensor::empty(x.shape(), dtype, x.device());
  launch(kernels::copy, x.device(), CopyArgs{.src = detail::view(x), .dst = detail::view(out)});
  if (!is_floating(dtype)) return out;
  return detail::record("cast", {x}, out, {}, [from = x.dtype()](const detail::BackwardCall& call) {
    return std::vector{cast(call.dy(), from)};
  });
}

}  // namespace wick
