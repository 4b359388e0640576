#pragma once

#include <algorithm>
#include <cmath>

#include "reference/array.hpp"
#include "reference/cross_entropy_ref.hpp"

namespace wick::reference {

/// z[n,v] = Σ_d x[n,d] w[v,d]. x [N,D], w [V,D].
inline Array linear_logits(const Array& x, const Array& w) {
  const std::int64_t D = x.dim(1);
  Array z({x.dim(0), w.dim(0)});
  for (std::int64_t n = 0; n < x.dim(0); ++n) {
    for (std::int64_t v = 0; v < w.dim(0); ++v) {
      double sum = 0;
      for (std::int64_t d = 0; d < D; ++d) sum += x[n * D + d] * w[v * D + d];
      z[n * w.dim(0) + v] = sum;
    }
  }
  return z;
}

/// cross_entropy_ref() of the logits x wᵀ.
inline Array linear_cross_entropy_ref(const Array& x, const Array& w, const Array& targets,
                                      const CrossEntropySettings& settings) {
  return cross_entropy_ref(linear_logits(x, w), targets, settings);
}

/// cross_entropy_magnitude(), and twice (in log Σ and in z[t]) the largest logit of each row on
/// absolute values, which is what a logit's rounding grows with.
inline Array linear_cross_entropy_magnitude(const Array& x, const Array& w, const Array& targets,
                                            const CrossEntropySettings& settings) {
  Array sizes = cross_entropy_magnitude(linear_logits(x, w), targets, settings);
  Array absolute_x = x;
  Array absolute_w = w;
  for (double& value : absolute_x.data) value = std::abs(value);
  for (double& value : absolute_w.data) value = std::abs(value);
  const Array z = linear_logits(absolute_x, absolute_w);
  const std::int64_t V = z.dim(1);
  const Array largest =
      reduce_rows(targets, settings, [&](std::int64_t n) { return row_max(z, n * V, 1, V); });
  sizes[0] += 2 * largest[0];
  return sizes;
}

}  // namespace wick::reference
