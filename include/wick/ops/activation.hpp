#pragma once

#include "wick/tensor/tensor.hpp"

namespace wick {

/// out = x · σ(x), also known as swish.
///
/// Shapes: x any; out the same.
/// Dtypes: f32, f16, bf16; out as x, computed in f32.
/// Errors: kDtype.
/// Gradient: x.
/// Source: Elfwing et al. 2017, https://arxiv.org/abs/1702.03118
Tensor silu(const Tensor& x);

/// The two forms of gelu() that checkpoints name "gelu" and "gelu_pytorch_tanh" (or "gelu_new").
enum class GeluForm { kErf, kTanh };

/// out = x · Φ(x) with the normal distribution's Φ (kErf), or its approximation
/// ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) (kTanh).
///
/// Shapes: x any; out the same.
/// Dtypes: f32, f16, bf16; out as x, computed in f32.
/// Errors: kDtype.
/// Gradient: x.
/// Source: Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
Tensor gelu(const Tensor& x, GeluForm form = GeluForm::kErf);

/// out = silu(gate) · up: the gated unit of Llama's feed-forward.
///
/// Shapes: gate and up equal, rank >= 1; out the same.
/// Dtypes: f32, f16, bf16; equal for both, and out's; computed in f32 and rounded once.
/// Errors: kShape, kDtype, kDevice.
/// Gradient: gate, up.
/// Source: Shazeer 2020, https://arxiv.org/abs/2002.05202
Tensor swiglu(const Tensor& gate, const Tensor& up);

}  // namespace wick
