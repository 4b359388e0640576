#include <optional>

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "wick/ops/view.hpp"

namespace wick {

Tensor reshape(const Tensor& x, const Shape& shape) {
  const detail::Check check("reshape", {{"x", x}});
  check.that(shape.numel() == x.numel(), ErrorKind::kShape, "{} holds {} elements, x holds {}",
             shape, shape.numel(), x.numel());
  const std::optional<Layout> layout = reshape(detail::layout_of(x), shape);
  const Tensor out =
      layout ? detail::with_layout(x, *layout) : detail::with_shape(detail::clone(x), shape);
  return detail::record("reshape", {x}, out, {},
                        [from = x.shape()](const detail::BackwardCall& call) {
                          return std::vector{reshape(call.dy(), from)};
                        });
}

}  // namespace wick
