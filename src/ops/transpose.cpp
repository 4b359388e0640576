#include <numeric>
#include <utility>

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "wick/ops/view.hpp"

namespace wick {

Tensor transpose(const Tensor& x, int axis_a, int axis_b) {
  const detail::Check check("transpose", {{"x", x}});
  const int a = check.axis("x", x, axis_a);
  const int b = check.axis("x", x, axis_b);
  std::vector<int> order(static_cast<std::size_t>(x.rank()));
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[static_cast<std::size_t>(a)], order[static_cast<std::size_t>(b)]);
  const Tensor out = detail::with_layout(x, permute(detail::layout_of(x), order));
  return detail::record("transpose", {x}, out, {}, [a, b](const detail::BackwardCall& call) {
    return std::vector{transpose(call.dy(), a, b)};
  });
}

}  // namespace wick
