#include "wick/ops/softmax.hpp"
#include "ops/softmaxes.hpp"

namespace wick {

Tensor softmax(const Tensor& x, int axis) {
  return detail::softmax_along(kernels::softmax, kernels::softmax_backward, x, axis);
}

}  // namespace wick
