#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// out[i_0, i_1, …] = x[j] with j[order[k]] = i_k. Negative axes count from the end.
inline Array permute_ref(const Array& x, const std::vector<int>& order) {
  std::vector<std::size_t> axes;
  std::vector<std::int64_t> shape;
  for (const int axis : order) {
    axes.push_back(static_cast<std::size_t>(axis < 0 ? axis + x.rank() : axis));
    shape.push_back(x.shape[axes.back()]);
  }
  Array out(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const std::vector<std::int64_t> index = unravel(i, shape);
    std::vector<std::int64_t> from(index.size());
    for (std::size_t k = 0; k < axes.size(); ++k) from[axes[k]] = index[k];
    std::int64_t flat = 0;
    for (std::size_t k = 0; k < from.size(); ++k) flat = flat * x.shape[k] + from[k];
    out[i] = x[flat];
  }
  return out;
}

}  // namespace wick::reference
