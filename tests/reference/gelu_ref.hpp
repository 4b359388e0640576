#pragma once

#include <cmath>
#include <numbers>

#include "reference/array.hpp"

namespace wick::reference {

/// y = x Φ(x) = ½ x erfc(−x / √2).
inline double gelu_erf_ref(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }

/// y = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).
inline double gelu_tanh_ref(double x) {
  const double inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1 + std::tanh(inner));
}

/// One of them for each element.
inline Array gelu_ref(const Array& x, bool tanh_form) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    y[i] = tanh_form ? gelu_tanh_ref(x[i]) : gelu_erf_ref(x[i]);
  }
  return y;
}

}  // namespace wick::reference
