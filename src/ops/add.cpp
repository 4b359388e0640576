#include "autograd/tape.hpp"
#include "ops/binary.hpp"
#include "ops/layouts.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick {

Tensor add(const Tensor& a, const Tensor& b) {
  const Tensor out = detail::broadcast_binary(kernels::add, a, b);
  return detail::record(
      "add", {a, b}, out, {},
      [shape_a = a.shape(), shape_b = b.shape()](const detail::BackwardCall& call) {
        std::vector<Tensor> grads(2);
        if (call.wanted[0]) grads[0] = detail::sum_to_shape(call.dy(), shape_a);
        if (call.wanted[1]) grads[1] = detail::sum_to_shape(call.dy(), shape_b);
        return grads;
      });
}

}  // namespace wick
