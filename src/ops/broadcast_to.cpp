#include <optional>

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "wick/ops/view.hpp"

namespace wick {

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  const detail::Check check("broadcast_to", {{"x", x}});
  const std::optional<Layout> layout = broadcast_to(detail::layout_of(x), shape);
  check.that(layout.has_value(), ErrorKind::kShape, "x must broadcast to {}", shape);
  return detail::record("broadcast_to", {x}, detail::with_layout(x, *layout), {},
                        [from = x.shape()](const detail::BackwardCall& call) {
                          return std::vector{detail::sum_to_shape(call.dy(), from)};
                        });
}

}  // namespace wick
