#include "autograd/tape.hpp"
#include "ops/products.hpp"

namespace wick {

void matmul_(const Tensor& c, const Tensor& a, const Tensor& b, const MatmulOptions& options,
             double beta) {
  const detail::Check check("matmul_", {{"c", c}, {"a", a}, {"b", b}});
  const detail::ProductShape shape = detail::product_shape(check, a, b, options);
  check.floating("c", c);
  check.shape("c", c, shape.result(), "to hold the product");
  const auto& strides = detail::layout_of(c).strides;
  check.that(shape.N <= 1 || strides[static_cast<std::size_t>(c.rank()) - 1] == 1,
             ErrorKind::kShape, "c must have unit stride along its last axis");
  check.writable("c", c);
  check.apart("c", c, "a", a);
  check.apart("c", c, "b", b);
  check.that(!detail::needs_gradient({a, b}), ErrorKind::kArgument,
             "an accumulated product has no gradient, and an operand requires one");
  detail::launch_product(shape, c, a, b, options, beta);
  detail::bump_version(c);
}

}  // namespace wick
