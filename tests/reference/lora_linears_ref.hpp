#pragma once

#include <vector>

#include "reference/lora_linear_ref.hpp"

namespace wick::reference {

/// A layer of lora_linears_ref(); bias may be null.
struct LoraLayerRef {
  const Array& weight;
  const Array* bias;
  const Array& lora_a;
  const Array& lora_b;
  double scale = 1;
};

/// lora_linear_ref() of x for each layer.
inline std::vector<Array> lora_linears_ref(const Array& x,
                                           const std::vector<LoraLayerRef>& layers) {
  std::vector<Array> results;
  for (const LoraLayerRef& layer : layers) {
    results.push_back(lora_linear_ref(x, layer.weight, layer.bias, layer.lora_a, layer.lora_b,
                                      {.scale = layer.scale}));
  }
  return results;
}

}  // namespace wick::reference
