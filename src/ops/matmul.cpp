#include "wick/ops/matmul.hpp"

#include <algorithm>

#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/products.hpp"

namespace wick {

namespace {

// [.., M, K] -> [G·M, K]: so that the gradient of a matrix shared by a batch is a single product.
Tensor fold_batch(const Tensor& x) {
  return detail::with_shape(detail::dense(x),
                            {x.numel() / std::max<std::int64_t>(x.dim(-1), 1), x.dim(-1)});
}

Tensor gradient_of_a(const Tensor& dy, const Tensor& a, const Tensor& b,
                     const MatmulOptions& options) {
  const MatmulOptions plain{.transpose_b = !options.transpose_b, .alpha = options.alpha};
  const MatmulOptions swapped{
      .transpose_a = options.transpose_b, .transpose_b = true, .alpha = options.alpha};
  const Tensor da = options.transpose_a ? detail::product(b, dy, swapped, a.dtype())
                                        : detail::product(dy, b, plain, a.dtype());
  return detail::sum_to_shape(da, a.shape());
}

Tensor gradient_of_b(const Tensor& dy, const Tensor& a, const Tensor& b,
                     const MatmulOptions& options) {
  const bool shared = b.rank() == 2 && a.rank() > 2 && !options.transpose_a && a.numel() > 0;
  const Tensor left = shared ? fold_batch(a) : a;
  const Tensor right = shared ? fold_batch(dy) : dy;
  const MatmulOptions plain{.transpose_a = !options.transpose_a, .alpha = options.alpha};
  const MatmulOptions swapped{
      .transpose_a = true, .transpose_b = options.transpose_a, .alpha = options.alpha};
  const Tensor db = options.transpose_b ? detail::product(right, left, swapped, b.dtype())
                                        : detail::product(left, right, plain, b.dtype());
  return detail::sum_to_shape(db, b.shape());
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options) {
  const detail::Check check("matmul", {{"a", a}, {"b", b}});
  const detail::ProductShape shape = detail::product_shape(check, a, b, options);
  Tensor out = Tensor::empty(shape.result(), detail::product_dtype(a, b), a.device());
  detail::launch_product(shape, out, a, b, options, 0);
  return detail::record("matmul", {a, b}, out, {a, b}, [options](const detail::BackwardCall& call) {
    std::vector<Tensor> grads(2);
    const Tensor& left = call.saved[0];
    const Tensor& right = call.saved[1];
    if (call.wanted[0]) grads[0] = gradient_of_a(call.dy(), left, right, options);
    if (call.wanted[1]) grads[1] = gradient_of_b(call.dy(), left, right, options);
    return grads;
  });
}

}  // namespace wick
