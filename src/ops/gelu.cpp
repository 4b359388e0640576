#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/activation.hpp"

namespace wick {

Tensor gelu(const Tensor& x, GeluForm form) {
  const detail::Check check("gelu", {{"x", x}});
  check.floating("x", x);
  const bool tanh_approximation = form == GeluForm::kTanh;
  const Tensor source = detail::dense(x);
  Tensor out = Tensor::empty(x.shape(), x.dtype(), x.device());
  launch(kernels::gelu, x.device(),
         GeluArgs{.x = detail::view(source),
                  .out = detail::view(out),
                  .tanh_approximation = tanh_approximation});
  return detail::record("gelu", {x}, out, {source},
                        [tanh_approximation](const detail::BackwardCall& call) {
                          const Tensor dy = detail::dense(call.dy());
                          Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
                          launch(kernels::gelu_backward, dy.device(),
                                 GeluBackwardArgs{.dy = detail::view(dy),
                                                  .x = detail::view(call.saved[0]),
                                                  .dx = detail::view(dx),
                                                  .tanh_approximation = tanh_approximation});
                          return std::vector{dx};
                        });
}

}  // namespace wick
