#pragma once

#include "reference/array.hpp"

namespace wick::reference {

/// out = factor · x with the factor rounded to f32.
inline Array scale_ref(const Array& x, double factor) {
  const auto rounded = static_cast<double>(static_cast<float>(factor));
  Array out(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) out[i] = rounded * x[i];
  return out;
}

}  // namespace wick::reference
