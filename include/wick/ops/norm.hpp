#pragma once

#include "wick/tensor/tensor.hpp"

namespace wick {

/// The number added under the root of a norm.
struct NormOptions {
  double eps = 1e-5;
};

/// Root-mean-square norm over the last axis: out = x / √(mean(x²) + eps) · weight.
///
/// Shapes: x […,D], rank >= 1, D >= 1; weight [D]; out as x.
/// Dtypes: x f32, f16 or bf16; weight x's dtype or f32; out as x. Computed in f32 and rounded once.
/// Errors: kShape, kDtype, kDevice, kArgument unless eps >= 0 and finite.
/// Gradient: x, weight.
/// Source: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
Tensor rms_norm(const Tensor& x, const Tensor& weight, const NormOptions& options = {});

/// The result of add_rms_norm().
struct NormedSum {
  Tensor sum;
  Tensor normed;
};

/// A residual and the norm that follows it: sum = x + y, normed = rms_norm(sum, weight), in one pass.
///
/// Shapes: x and y […,D], rank >= 1, D >= 1, the same; weight [D]; sum and normed as x.
/// Dtypes: x f32, f16 or bf16; y x's; weight x's dtype or f32; sum and normed as x. The sum is rounded before it is
///   normed.
/// Errors: kShape, kDtype, kDevice, kArgument unless eps >= 0 and finite.
/// Gradient: x, y, weight.
/// Source: as rms_norm
NormedSum add_rms_norm(const Tensor& x, const Tensor& y, const Tensor& weight,
                       const NormOptions& options = {});

/// Layer norm over the last axis: out = (x − mean) / √(var + eps) · weight + bias, with the biased variance.
///
/// Shapes: x […,D], rank >= 1, D >= 1; weight [D]; bias [D] or undefined; out as x.
/// Dtypes: x f32, f16 or bf16; weight x's dtype or f32; bias the weight's; out as x. Computed in f32 and
///   rounded once.
/// Errors: kShape, kDtype, kDevice, kArgument unless eps >= 0 and finite.
/// Gradient: x, weight, bias.
/// Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const NormOptions& options = {});

}  // namespace wick
