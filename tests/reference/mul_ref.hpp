#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// out = a · b with broadcasting.
inline Array mul_ref(const Array& a, const Array& b) {
  return broadcast_apply(a, b, [](double x, double y) { return x * y; });
}

}  // namespace wick::reference
