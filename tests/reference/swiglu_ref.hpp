#pragma once

#include "reference/array.hpp"
#include "reference/silu_ref.hpp"

namespace wick::reference {

/// y = gate σ(gate) · up, element by element.
inline Array swiglu_ref(const Array& gate, const Array& up) {
  Array y(gate.shape);
  for (std::int64_t i = 0; i < gate.numel(); ++i) y[i] = silu_ref(gate[i]) * up[i];
  return y;
}

}  // namespace wick::reference
