#include "ops/binary.hpp"

#include <optional>

#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/launch.hpp"

namespace wick::detail {

Tensor broadcast_binary(const Kernel<BinaryArgs>& kernel, const Tensor& a, const Tensor& b) {
  const Check check(kernel.name, {{"a", a}, {"b", b}});
  check.number("a", a);
  check.same_dtype("a", a, "b", b);
  const std::optional<Shape> shape = broadcast_shapes(a.shape(), b.shape());
  check.that(shape.has_value(), ErrorKind::kShape, "a and b must broadcast to one shape");
  Tensor out = Tensor::empty(*shape, a.dtype(), a.device());
  const Tensor left = aligned(a);
  const Tensor right = aligned(b);
  launch(kernel, a.device(),
         BinaryArgs{.a = view(left, *broadcast_to(layout_of(left), *shape)),
                    .b = view(right, *broadcast_to(layout_of(right), *shape)),
                    .out = view(out)});
  return out;
}

}  // namespace wick::detail
