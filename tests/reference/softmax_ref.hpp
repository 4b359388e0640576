#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/array.hpp"

namespace wick::reference {

/// Calls row(start, step, size) for every row along an axis: its elements are start + i · step, i <
/// size.
template <class Row>
void for_each_row(const Array& x, std::int64_t axis, const Row& row) {
  const std::int64_t size = x.dim(axis);
  if (x.numel() == 0) return;
  const std::int64_t first = axis < 0 ? axis + x.rank() : axis;
  std::int64_t step = 1;
  for (std::int64_t later = first + 1; later < x.rank(); ++later) step *= x.dim(later);
  for (std::int64_t outer = 0; outer < x.numel() / (size * step); ++outer) {
    for (std::int64_t inner = 0; inner < step; ++inner) {
      row(outer * size * step + inner, step, size);
    }
  }
}

/// The largest element of a row, NaN if it has one: −∞ only when every element is −∞.
inline double row_max(const Array& x, std::int64_t start, std::int64_t step, std::int64_t size) {
  double max = -std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < size; ++i) {
    const double value = x[start + i * step];
    if (std::isnan(value)) return value;
    max = std::max(max, value);
  }
  return max;
}

/// y_i = exp(x_i − max) / Σ_j exp(x_j − max) along an axis; zeros for a row that is −∞ throughout.
inline Array softmax_ref(const Array& x, std::int64_t axis) {
  Array y(x.shape);
  for_each_row(x, axis, [&](std::int64_t start, std::int64_t step, std::int64_t size) {
    const double max = row_max(x, start, step, size);
    if (max == -std::numeric_limits<double>::infinity()) return;
    double sum = 0;
    for (std::int64_t i = 0; i < size; ++i) sum += std::exp(x[start + i * step] - max);
    for (std::int64_t i = 0; i < size; ++i) {
      y[start + i * step] = std::exp(x[start + i * step] - max) / sum;
    }
  });
  return y;
}

}  // namespace wick::reference
