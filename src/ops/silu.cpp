#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/activation.hpp"

namespace wick {

Tensor silu(const Tensor& x) {
  const detail::Check check("silu", {{"x", x}});
  check.floating("x", x);
  const Tensor source = detail::dense(x);
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch(kernels::silu, x.device(), UnaryArgs{.x = detail::view(source), .out = detail::view(out)});
  return detail::record("silu", {x}, out, {source}, [](const detail::BackwardCall& call) {
    const Tensor dy = detail::dense(call.dy());
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    launch(kernels::silu_backward, dy.device(),
           UnaryBackwardArgs{
               .dy = detail::view(dy), .x = detail::view(call.saved[0]), .dx = detail::view(dx)});
    return std::vector{dx};
  });
}

}  // namespace wick
