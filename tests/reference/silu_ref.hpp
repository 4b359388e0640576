#pragma once

#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// y = x σ(x) = x / (1 + e⁻ˣ).
inline double silu_ref(double x) { return x / (1 + std::exp(-x)); }

/// The same for each element.
inline Array silu_ref(const Array& x) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) y[i] = silu_ref(x[i]);
  return y;
}

}  // namespace wick::reference
