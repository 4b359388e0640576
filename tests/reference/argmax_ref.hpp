#pragma once

#include "reference/array.hpp"
#include "reference/max_ref.hpp"

namespace wick::reference {

/// out[i] = the first position of the largest x[i,:] along `axis`; a NaN counts as largest.
inline Array argmax_ref(const Array& x, std::int64_t axis, bool keepdim) {
  return max_ref(x, axis, keepdim).indices;
}

}  // namespace wick::reference
