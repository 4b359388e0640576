#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/array.hpp"

namespace wick::reference {

/// A binary floating-point format of IEEE 754's kind.
struct FloatFormat {
  int digits;        ///< of the significand, with the leading one
  int min_exponent;  ///< e of the smallest normal number written as ½ · 2^e
  double largest;    ///< finite number
};

inline constexpr FloatFormat kBinary32{
    .digits = 24, .min_exponent = -125, .largest = 0x1.FFFFFEp127};
inline constexpr FloatFormat kBinary16{.digits = 11, .min_exponent = -13, .largest = 65504};
inline constexpr FloatFormat kBFloat16{.digits = 8, .min_exponent = -125, .largest = 0x1.FEp127};

/// The number of `format` nearest to x; of two as near, the one whose last digit is even. What
/// rounds beyond the largest number is infinite.
inline double round_to_format(double x, const FloatFormat& format) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int last_digit = std::max(exponent, format.min_exponent) - format.digits;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -last_digit)), last_digit);
  if (std::abs(rounded) <= format.largest) return rounded;
  return std::copysign(std::numeric_limits<double>::infinity(), x);
}

/// out = x rounded to a floating format.
inline Array cast_to_floating_ref(const Array& x, const FloatFormat& format) {
  Array out(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) out[i] = round_to_format(x[i], format);
  return out;
}

/// out = x without its fraction, limited to [low, high]; 0 for NaN.
inline Array cast_to_integer_ref(const Array& x, double low, double high) {
  Array out(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    out[i] = std::isnan(x[i]) ? 0 : std::clamp(std::trunc(x[i]), low, high);
  }
  return out;
}

/// out = 1 where x is not zero (NaN is not), else 0.
inline Array cast_to_bool_ref(const Array& x) {
  Array out(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) out[i] = x[i] == 0 ? 0 : 1;
  return out;
}

/// out = x: a conversion between floating formats as its gradient sees it, without the steps of
/// rounding.
inline Array cast_smooth_ref(const Array& x) { return x; }

}  // namespace wick::reference
