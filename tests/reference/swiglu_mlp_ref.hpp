#pragma once

#include <array>

#include "reference/lora_linears_ref.hpp"
#include "reference/swiglu_ref.hpp"

namespace wick::reference {

/// down(swiglu(gate(x), up(x))) for layers gate, up and down.
inline Array swiglu_mlp_ref(const Array& x, const std::array<LoraLayerRef, 3>& layers) {
  const std::vector<Array> expanded = lora_linears_ref(x, {layers[0], layers[1]});
  return lora_linears_ref(swiglu_ref(expanded[0], expanded[1]), {layers[2]}).front();
}

/// What |swiglu_mlp_ref| is at most, from absolute values of all operands: |silu(g)| <= |g|.
inline Array swiglu_mlp_bound(const Array& x, const std::array<LoraLayerRef, 3>& layers) {
  const std::vector<Array> expanded = lora_linears_ref(x, {layers[0], layers[1]});
  Array h(expanded[0].shape);
  for (std::int64_t i = 0; i < h.numel(); ++i) h[i] = expanded[0][i] * expanded[1][i];
  return lora_linears_ref(h, {layers[2]}).front();
}

}  // namespace wick::reference
