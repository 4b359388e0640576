#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// out[i…] = x[i…] where axes of size 1 and missing leading axes of x repeat up to `shape`.
inline Array broadcast_to_ref(const Array& x, const std::vector<std::int64_t>& shape) {
  Array out(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    out[i] = x[ravel_broadcast(unravel(i, shape), x.shape)];
  }
  return out;
}

}  // namespace wick::reference
