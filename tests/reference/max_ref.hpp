#pragma once

#include "reference/array.hpp"
#include "reference/top_k_ref.hpp"

namespace wick::reference {

/// values[i] = the largest x[i,:] along `axis`, indices[i] = the first position that holds it; a
/// NaN counts as largest. The axis is removed or, with keepdim, left as 1.
inline ValuesAndPositions max_ref(const Array& x, std::int64_t axis, bool keepdim) {
  const auto along = static_cast<std::size_t>(axis < 0 ? axis + x.rank() : axis);
  std::vector<std::int64_t> shape = x.shape;
  shape[along] = 1;
  std::int64_t inner = 1;
  for (std::size_t i = along + 1; i < x.shape.size(); ++i) inner *= x.shape[i];
  ValuesAndPositions out{Array(shape), Array(shape)};
  for (std::int64_t line = 0; line < out.values.numel(); ++line) {
    const std::int64_t first = line / inner * x.shape[along] * inner + line % inner;
    std::int64_t best = 0;
    for (std::int64_t p = 1; p < x.shape[along]; ++p) {
      if (counts_as_larger(x[first + p * inner], x[first + best * inner])) best = p;
    }
    out.values[line] = x[first + best * inner];
    out.indices[line] = static_cast<double>(best);
  }
  if (!keepdim) shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(along));
  out.values.shape = shape;
  out.indices.shape = shape;
  return out;
}

}  // namespace wick::reference
