#pragma once

#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// y[n] = √(Σ_k (W[n,k] + scale Σ_r B[n,r] A[r,k])²). W [N,K], A [r,K], B [N,r], y [N].
inline Array dora_norm_ref(const Array& weight, const Array& lora_a, const Array& lora_b,
                           double scale) {
  const std::int64_t N = weight.dim(0);
  const std::int64_t K = weight.dim(1);
  const std::int64_t R = lora_a.dim(0);
  Array y({N});
  for (std::int64_t n = 0; n < N; ++n) {
    double squares = 0;
    for (std::int64_t k = 0; k < K; ++k) {
      double update = 0;
      for (std::int64_t r = 0; r < R; ++r) update += lora_b[n * R + r] * lora_a[r * K + k];
      const double adapted = weight[n * K + k] + scale * update;
      squares += adapted * adapted;
    }
    y[n] = std::sqrt(squares);
  }
  return y;
}

/// y[n] = magnitude[n] / norm[n], 0 where the norm is 0.
inline Array dora_gain_ref(const Array& magnitude, const Array& weight, const Array& lora_a,
                           const Array& lora_b, double scale) {
  Array y = dora_norm_ref(weight, lora_a, lora_b, scale);
  for (std::int64_t n = 0; n < y.numel(); ++n) y[n] = y[n] == 0 ? 0 : magnitude[n] / y[n];
  return y;
}

}  // namespace wick::reference
