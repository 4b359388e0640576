#pragma once

#include <cmath>
#include <numbers>

#include "reference/array.hpp"
#include "reference/philox_ref.hpp"

namespace wick::reference {

/// Box and Muller's method: of a pair of 24-bit numbers b₀, b₁ with r = √(−2 ln((b₀ + 1) · 2⁻²⁴))
/// and θ = 2π b₁ · 2⁻²⁴ come mean + std · r cos θ and mean + std · r sin θ.
inline Array random_normal_ref(const std::vector<std::int64_t>& shape, const PhiloxStream& stream,
                               double mean, double std) {
  Array out(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const std::int64_t first = i - i % 2;
    const double r = std::sqrt(-2 * std::log((stream.bits(first) + 1.0) * 0x1p-24));
    const double theta = 2 * std::numbers::pi * stream.uniform(first + 1);
    out[i] = mean + std * r * (i == first ? std::cos(theta) : std::sin(theta));
  }
  return out;
}

}  // namespace wick::reference
