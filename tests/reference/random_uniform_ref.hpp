#pragma once

#include <cmath>
#include <functional>

#include "reference/array.hpp"
#include "reference/philox_ref.hpp"

namespace wick::reference {

/// A floating dtype, as far as rounding goes.
struct Rounding {
  std::function<double(double)> nearest;  ///< the nearest number it holds
  int precision = 24;                     ///< significant bits
  double smallest = 0x1p-149;             ///< its smallest positive number
};

/// The largest number of the dtype below `limit`.
inline double largest_below(double limit, const Rounding& rounding) {
  int exponent = 0;
  const double fraction = std::frexp(limit, &exponent);
  // Numbers below a positive power of two lie twice as dense as those above it.
  if (fraction == 0.5) --exponent;
  const double step = std::max(std::ldexp(1, exponent - rounding.precision), rounding.smallest);
  return limit == 0 ? -rounding.smallest : (std::ceil(limit / step) - 1) * step;
}

/// u = (word >> 8) · 2⁻²⁴, out = low + (high − low) · u with each operation rounded to f32, then
/// rounded to the dtype; what comes out as high or above becomes the largest number below high. A
/// double holds the exact product of two floats, and rounding a sum of two to double first does not
/// change its float.
inline Array random_uniform_ref(const std::vector<std::int64_t>& shape, const PhiloxStream& stream,
                                double low, double high, const Rounding& rounding) {
  const auto f32 = [](double x) { return static_cast<double>(static_cast<float>(x)); };
  const double width = f32(f32(high) - f32(low));
  Array out(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const double value = rounding.nearest(f32(f32(low) + f32(width * stream.uniform(i))));
    out[i] = value >= high ? largest_below(high, rounding) : value;
  }
  return out;
}

}  // namespace wick::reference
