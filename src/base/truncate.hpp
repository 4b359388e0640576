#pragma once

#include <limits>

namespace wick {

/// The integer that is left of a floating number without its fraction. One that does not fit
/// becomes the nearest that does, NaN becomes 0.
template <class To, class From>
constexpr To truncate(From value) {
  using Limits = std::numeric_limits<To>;
  constexpr To kHalf = Limits::max() / 2 + 1;  // a power of two: exact
  constexpr From kBeyond = static_cast<From>(kHalf) * 2;
  if (value != value) return 0;
  if (value >= kBeyond) return Limits::max();
  if (value <= static_cast<From>(Limits::min())) return Limits::min();
  return static_cast<To>(value);
}

}  // namespace wick
