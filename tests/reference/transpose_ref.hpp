#pragma once

#include "reference/array.hpp"
#include "reference/permute_ref.hpp"

namespace wick::reference {

/// out[…, i, …, j, …] = x[…, j, …, i, …] for the two axes. Negative ones count from the end.
inline Array transpose_ref(const Array& x, int axis_a, int axis_b) {
  const auto from_front = [&](int axis) {
    return static_cast<std::size_t>(axis < 0 ? axis + x.rank() : axis);
  };
  std::vector<int> order(x.shape.size());
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[from_front(axis_a)], order[from_front(axis_b)]);
  return permute_ref(x, order);
}

}  // namespace wick::reference
