#pragma once

#include <cmath>
#include <limits>
#include <span>

#include "reference/array.hpp"

namespace wick::reference {

/// norm = √(Σ g²) over all elements of all gradients, g ← g · min(1, max_norm / (norm + 10⁻⁶)).
/// Returns norm [], g₀, g₁, …
inline std::vector<Array> clip_grad_norm_ref(std::span<const Array> gradients, double max_norm) {
  double squares = 0;
  for (const Array& g : gradients) {
    for (const double x : g.data) squares += x * x;
  }
  const double norm = std::sqrt(squares);
  const double factor = std::min(1.0, max_norm / (norm + 1e-6));
  std::vector<Array> results = {Array({}, {norm})};
  for (const Array& g : gradients) {
    Array scaled(g.shape);
    for (std::int64_t i = 0; i < g.numel(); ++i) scaled[i] = g[i] * factor;
    results.push_back(std::move(scaled));
  }
  return results;
}

}  // namespace wick::reference
