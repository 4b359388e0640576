#pragma once

#include <vector>

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
///   B one dtype, f32 or x's; out x's. Accumulated in f32 and rounded once; GPUs round A, B and x Aᵀ to
///   a 16-bit x's dtype for their products, and some the base's part before the adapter's is added.
/// Errors: kShape, kDtype, kDevice; kArgument unless 0 <= dropout < 1, and when the weight requires a
///   gradient (it is frozen).
/// Gradient: x, bias, lora_a, lora_b; never the weight, nor anything of its size.
/// Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685; Kalajdzievski 2023 (scale by 1/√r),
///   https://arxiv.org/abs/2312.03732
Tensor lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& lora_a,
                   const Tensor& lora_b, const LoraOptions& options = {});

/// One of the layers of lora_linears(), as the operands of lora_linear().
struct LoraOperands {
  Tensor weight;
  Tensor bias;
  Tensor lora_a;
  Tensor lora_b;
  double scale = 1;
};

/// Layers that share their input, as q, k and v or gate and up do: lora_linear(x, …) for each, without dropout. x is read
/// once for all adapters, and its gradient is written once.
///
/// Shapes: x […,K], rank >= 1; one to three layers, each as in lora_linear; each result […,N of its layer].
/// Dtypes: as lora_linear.
/// Errors: as lora_linear; kArgument unless there are one to three layers.
/// Gradient: x, and of each layer bias, lora_a, lora_b.
/// Source: as lora_linear
std::vector<Tensor> lora_linears(const Tensor& x, const std::vector<LoraOperands>& layers);

/// The feed-forward part of a transformer's layer: down(swiglu(gate(x), up(x))), each a lora_linear() without dropout. Where
/// the device can, swiglu and its gradient are computed where the products beside them end.
///
/// Shapes: x […,K], rank >= 1; gate and up with weights [F,K], down with a weight [N,F], else as in lora_linear;
///   out […,N].
/// Dtypes: as lora_linear; gate(x), up(x) and their swiglu are rounded to x's dtype.
/// Errors: as lora_linear; kShape unless gate and up have the same size.
/// Gradient: x, and of each layer bias, lora_a, lora_b.
/// Source: as lora_linear and swiglu
Tensor swiglu_mlp(const Tensor& x, const LoraOperands& gate, const LoraOperands& up,
                  const LoraOperands& down);

/// The factor that DoRA gives each output of an adapted layer: its magnitude over the norm of its row,
/// out[n] = magnitude[n] / ‖W[n,:] + scale · (B A)[n,:]‖₂. A row whose norm is 0 gives 0.
///
/// Shapes: magnitude [N]; weight W [N,K]; lora_a A [r,K]; lora_b B [N,r], any r >= 0; out [N].
/// Dtypes: magnitude f32; weight f32, f16 or bf16; A and B one dtype, f32 or the weight's; out f32. B A
///   is accumulated in f32, squares in f32 or better.
/// Errors: kShape, kDtype, kDevice; kArgument when the weight requires a gradient (it is frozen).
/// Gradient: magnitude, 0 for a row whose norm is 0. The norm counts as a constant by definition: A and
///   B may require a gradient, but receive none from this op.
/// Source: Liu et al. 2024, https://arxiv.org/abs/2402.09353
Tensor dora_gain(const Tensor& magnitude, const Tensor& weight, const Tensor& lora_a,
                 const Tensor& lora_b, double scale);

}  // namespace wick
