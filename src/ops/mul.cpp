#include "autograd/tape.hpp"
#include "ops/binary.hpp"
#include "ops/layouts.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick {

Tensor mul(const Tensor& a, const Tensor& b) {
  const Tensor out = detail::broadcast_binary(kernels::mul, a, b);
  return detail::record("mul", {a, b}, out, {a, b}, [](const detail::BackwardCall& call) {
    const Tensor& left = call.saved[0];
    const Tensor& right = call.saved[1];
    std::vector<Tensor> grads(2);
    if (call.wanted[0]) grads[0] = detail::sum_to_shape(mul(call.dy(), right), left.shape());
    if (call.wanted[1]) grads[1] = detail::sum_to_shape(mul(call.dy(), left), right.shape());
    return grads;
  });
}

}  // namespace wick
