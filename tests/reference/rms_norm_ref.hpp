#pragma once

#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// y[r,d] = x[r,d] / √(Σ_d x[r,d]² / D + eps) · w[d]. x [...,D], w [D].
inline Array rms_norm_ref(const Array& x, const Array& w, double eps) {
  Array y(x.shape);
  const std::int64_t D = x.dim(-1);
  for (std::int64_t start = 0; start < x.numel(); start += D) {
    double squares = 0;
    for (std::int64_t d = 0; d < D; ++d) squares += x[start + d] * x[start + d];
    const double inv = 1 / std::sqrt(squares / static_cast<double>(D) + eps);
    for (std::int64_t d = 0; d < D; ++d) y[start + d] = x[start + d] * inv * w[d];
  }
  return y;
}

}  // namespace wick::reference
