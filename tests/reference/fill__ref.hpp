#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// x[i] = value. A conversion of dtype is cast_ref's matter.
inline Array fill_ref(const Array& x, double value) {
  Array out(x.shape);
  std::fill(out.data.begin(), out.data.end(), value);
  return out;
}

}  // namespace wick::reference
