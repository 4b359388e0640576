#include "ops/softmaxes.hpp"
#include "wick/ops/softmax.hpp"

namespace wick {

Tensor log_softmax(const Tensor& x, int axis) {
  return detail::softmax_along(kernels::log_softmax, kernels::log_softmax_backward, x, axis);
}

}  // namespace wick
