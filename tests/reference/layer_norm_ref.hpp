#pragma once

#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// y[r,d] = (x[r,d] − mean_r) / √(var_r + eps) · w[d] + b[d], var_r = Σ_d (x[r,d] − mean_r)² / D.
/// x [...,D], w [D], b [D] or null.
inline Array layer_norm_ref(const Array& x, const Array& w, const Array* b, double eps) {
  Array y(x.shape);
  const std::int64_t D = x.dim(-1);
  for (std::int64_t start = 0; start < x.numel(); start += D) {
    double sum = 0;
    for (std::int64_t d = 0; d < D; ++d) sum += x[start + d];
    const double mean = sum / static_cast<double>(D);
    double squares = 0;
    for (std::int64_t d = 0; d < D; ++d) {
      squares += (x[start + d] - mean) * (x[start + d] - mean);
    }
    const double inv = 1 / std::sqrt(squares / static_cast<double>(D) + eps);
    for (std::int64_t d = 0; d < D; ++d) {
      y[start + d] = (x[start + d] - mean) * inv * w[d] + (b == nullptr ? 0 : (*b)[d]);
    }
  }
  return y;
}

}  // namespace wick::reference
