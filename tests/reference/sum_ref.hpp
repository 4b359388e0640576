#pragma once

#include <algorithm>
#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// Which axes of an array of `rank` dimensions a reduction removes; an empty list means all.
inline std::vector<bool> reduced_axes(const std::vector<int>& axes, std::int64_t rank) {
  std::vector<bool> reduced(static_cast<std::size_t>(rank), axes.empty());
  for (const int axis : axes)
    reduced[static_cast<std::size_t>(axis < 0 ? axis + rank : axis)] = true;
  return reduced;
}

/// out[i] = Σ_r f(x[i,r]) over the reduced axes r, which are removed or, with keepdim, left as 1.
template <class F>
Array sum_of(const Array& x, const std::vector<int>& axes, bool keepdim, F f) {
  const std::vector<bool> reduced = reduced_axes(axes, x.rank());
  std::vector<std::int64_t> kept = x.shape;
  std::vector<std::int64_t> removed;
  for (std::size_t k = 0; k < kept.size(); ++k) {
    if (reduced[k]) {
      kept[k] = 1;
    } else {
      removed.push_back(kept[k]);
    }
  }
  Array out(kept);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    out[ravel_broadcast(unravel(i, x.shape), kept)] += f(x[i]);
  }
  if (!keepdim) out.shape = removed;
  return out;
}

/// out[i] = Σ_r x[i,r]; 0 where there is nothing to add.
inline Array sum_ref(const Array& x, const std::vector<int>& axes, bool keepdim) {
  return sum_of(x, axes, keepdim, [](double value) { return value; });
}

/// Σ_r |x[i,r]| over what is finite: what the rounding of a sum is measured by.
inline Array sum_magnitude(const Array& x, const std::vector<int>& axes, bool keepdim) {
  return sum_of(x, axes, keepdim,
                [](double value) { return std::isfinite(value) ? std::abs(value) : 0; });
}

}  // namespace wick::reference
