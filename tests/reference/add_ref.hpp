#pragma once

#include <cstdint>
#include <type_traits>

#include "reference/array.hpp"

namespace wick::reference {

/// out = a + b with broadcasting.
inline Array add_ref(const Array& a, const Array& b) {
  return broadcast_apply(a, b, [](double x, double y) { return x + y; });
}

/// out = f(a, b) modulo 2^bits of the signed type Int, with broadcasting. f takes and returns the
/// unsigned type; arguments and results must be whole numbers that a double holds exactly.
template <class Int, class F>
Array wrapping_apply(const Array& a, const Array& b, F f) {
  using Unsigned = std::make_unsigned_t<Int>;
  return broadcast_apply(a, b, [f](double x, double y) {
    const auto p = static_cast<Unsigned>(static_cast<Int>(x));
    const auto q = static_cast<Unsigned>(static_cast<Int>(y));
    return static_cast<double>(static_cast<Int>(static_cast<Unsigned>(f(p, q))));
  });
}

}  // namespace wick::reference
