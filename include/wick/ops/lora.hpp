#pragma once

#include "wick/ops/random.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick {

/// The numbers of a low-rank adapter.
struct LoraOptions {
  double scale = 1;  ///< lora_alpha / r, or lora_alpha / √r for rank-stabilised LoRA
  /// probability of zeroing an element of the adapter's input; 0 when not training
  double dropout = 0;
  RandomKey key = {};  ///< for dropout; element m · K + k of x
};

/// A frozen linear layer with a trainable low-rank adapter:
/// out = x Wᵀ + bias + scale · (dropout(x) Aᵀ) Bᵀ.
///
/// Shapes: x […,K], rank >= 1; weight W [N,K]; bias [N] or undefined; lora_a A [r,K]; lora_b B [N,r], any
///   r >= 0; out […,N].
/// Dtypes: x f32, f16 or bf16; weight x's dtype, or any floating one when x is f32; bias the weight's; A and
///   B one dtype, f32 or x's; out x's. Accumulated in f32 and rounded once.
/// Errors: kShape, kDtype, kDevice; kArgument unless 0 <= dropout < 1, and when the weight requires a
///   gradient (it is frozen).
/// Gradient: x, bias, lora_a, lora_b; never the weight, nor anything of its size.
/// Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685; Kalajdzievski 2023 (scale by 1/√r),
///   https://arxiv.org/abs/2312.03732
Tensor lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& lora_a,
                   const Tensor& lora_b, const LoraOptions& options = {});

}  // namespace wick
