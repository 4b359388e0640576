#include <fmt/ranges.h>

#include <algorithm>

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "wick/ops/view.hpp"

namespace wick {

Tensor permute(const Tensor& x, const std::vector<int>& order) {
  const detail::Check check("permute", {{"x", x}});
  const auto rank = static_cast<std::size_t>(x.rank());
  std::vector<int> forward;
  std::vector<int> inverse(rank, -1);
  for (std::size_t i = 0; i < order.size() && order.size() == rank; ++i) {
    forward.push_back(check.axis("x", x, order[i]));
    inverse[static_cast<std::size_t>(forward.back())] = static_cast<int>(i);
  }
  const bool is_permutation = order.size() == rank && std::ranges::count(inverse, -1) == 0;
  check.that(is_permutation, ErrorKind::kShape, "order [{}] must name each axis of x once",
             fmt::join(order, ","));
  const Tensor out = detail::with_layout(x, permute(detail::layout_of(x), forward));
  return detail::record("permute", {x}, out, {}, [inverse](const detail::BackwardCall& call) {
    return std::vector{permute(call.dy(), inverse)};
  });
}

}  // namespace wick
