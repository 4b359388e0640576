#pragma once

#include "reference/array.hpp"
#include "reference/sum_ref.hpp"

namespace wick::reference {

/// Number of elements that a reduction over `axes` brings together.
inline std::int64_t reduced_count(const Array& x, const std::vector<int>& axes) {
  const std::vector<bool> reduced = reduced_axes(axes, x.rank());
  std::int64_t count = 1;
  for (std::size_t k = 0; k < reduced.size(); ++k) count *= reduced[k] ? x.shape[k] : 1;
  return count;
}

/// out = sums / n.
inline Array divided(Array sums, std::int64_t n) {
  for (double& value : sums.data) value /= static_cast<double>(n);
  return sums;
}

/// out[i] = Σ_r x[i,r] / n over the n elements of the reduced axes r.
inline Array mean_ref(const Array& x, const std::vector<int>& axes, bool keepdim) {
  return divided(sum_ref(x, axes, keepdim), reduced_count(x, axes));
}

/// Σ_r |x[i,r]| / n.
inline Array mean_magnitude(const Array& x, const std::vector<int>& axes, bool keepdim) {
  return divided(sum_magnitude(x, axes, keepdim), reduced_count(x, axes));
}

}  // namespace wick::reference
