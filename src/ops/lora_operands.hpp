#pragma once

#include "ops/checks.hpp"

namespace wick::detail {

/// What lora_linear() and lora_linears() ask of the operands of a layer. The bias may be undefined.
void check_lora_operands(const Check& check, const Tensor& x, const Tensor& weight,
                         const Tensor& bias, const Tensor& lora_a, const Tensor& lora_b);

}  // namespace wick::detail
