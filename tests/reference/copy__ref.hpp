#pragma once

#include "reference/array.hpp"
#include "reference/broadcast_to_ref.hpp"

namespace wick::reference {

/// dst = src repeated up to the shape of dst. A conversion of dtype is cast_ref's matter.
inline Array copy_ref(const Array& dst, const Array& src) {
  return broadcast_to_ref(src, dst.shape);
}

}  // namespace wick::reference
