#pragma once

#include "reference/array.hpp"
#include "reference/philox_ref.hpp"

namespace wick::reference {

/// y[i] = x[i] / (1 − p) where the uniform number of element i is >= p, else 0.
inline Array dropout_ref(const Array& x, double p, const PhiloxStream& stream) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) y[i] = stream.uniform(i) >= p ? x[i] / (1 - p) : 0;
  return y;
}

}  // namespace wick::reference
