#pragma once

#include "reference/array.hpp"
#include "reference/matmul_ref.hpp"

namespace wick::reference {

/// out = alpha op(a) op(b) + beta · c, where c is not read when beta is 0. Shapes as matmul_ref();
/// c as out.
inline Array accumulating_matmul_ref(const Array& c, const Array& a, const Array& b,
                                     const MatmulForm& form, double beta) {
  Array out = matmul_ref(a, b, form);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    if (beta != 0) out[i] += beta * c[i];
  }
  return out;
}

}  // namespace wick::reference
