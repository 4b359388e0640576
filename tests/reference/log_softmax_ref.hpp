#pragma once

#include <cmath>
#include <limits>

#include "reference/array.hpp"
#include "reference/softmax_ref.hpp"

namespace wick::reference {

/// y_i = x_i − max − log Σ_j exp(x_j − max) along an axis; −∞ for a row that is −∞ throughout.
inline Array log_softmax_ref(const Array& x, std::int64_t axis) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Array y(x.shape);
  for_each_row(x, axis, [&](std::int64_t start, std::int64_t step, std::int64_t size) {
    const double max = row_max(x, start, step, size);
    double sum = 0;
    for (std::int64_t i = 0; i < size; ++i) sum += std::exp(x[start + i * step] - max);
    for (std::int64_t i = 0; i < size; ++i) {
      y[start + i * step] =
          max == -kInfinity ? -kInfinity : x[start + i * step] - max - std::log(sum);
    }
  });
  return y;
}

}  // namespace wick::reference
