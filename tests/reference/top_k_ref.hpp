#pragma once

#include <algorithm>
#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// Elements with the positions they came from.
struct ValuesAndPositions {
  Array values;
  Array indices;
};

/// True when a counts as larger than b: NaN is larger than any number.
inline bool counts_as_larger(double a, double b) { return std::isnan(a) ? !std::isnan(b) : a > b; }

/// values[…, j, …] = the j-th largest of x[…, :, …] along `axis` for j < k, indices where it
/// stands; equals in order of position.
inline ValuesAndPositions top_k_ref(const Array& x, std::int64_t k, std::int64_t axis) {
  const auto along = static_cast<std::size_t>(axis < 0 ? axis + x.rank() : axis);
  const std::int64_t size = x.shape[along];
  std::int64_t inner = 1;
  for (std::size_t i = along + 1; i < x.shape.size(); ++i) inner *= x.shape[i];
  std::vector<std::int64_t> shape = x.shape;
  shape[along] = k;
  ValuesAndPositions out{Array(shape), Array(shape)};
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  const std::int64_t lines = x.numel() / std::max<std::int64_t>(size, 1);
  for (std::int64_t line = 0; line < lines; ++line) {
    const std::int64_t first = line / inner * size * inner + line % inner;
    std::iota(order.begin(), order.end(), std::int64_t{0});
    std::sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
      const double a = x[first + p * inner];
      const double b = x[first + q * inner];
      if (counts_as_larger(a, b)) return true;
      return !counts_as_larger(b, a) && p < q;
    });
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int64_t from = order[static_cast<std::size_t>(j)];
      const std::int64_t to = line / inner * k * inner + line % inner + j * inner;
      out.values[to] = x[first + from * inner];
      out.indices[to] = static_cast<double>(from);
    }
  }
  return out;
}

}  // namespace wick::reference
