#pragma once

#include <cstdint>
#include <span>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// One parameter with the state that AdamW keeps for it. The gradient is parameter.grad().
struct AdamwParameter {
  Tensor parameter;
  Tensor m;  ///< first moment, f32, zeros at first
  Tensor v;  ///< second moment, f32, zeros at first
};

/// The numbers of one AdamW step, with PyTorch's defaults.
struct AdamwOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  Tensor lr_tensor = {};    ///< [] f32 on the device: read instead of lr when the op runs
  Tensor step_tensor = {};  ///< [] i64 on the device: read instead of the step when the op runs
};

/// One step of AdamW on all parameters: m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g², then
/// p −= lr · (m̂ / (√v̂ + eps) + weight_decay · p) with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ), t = step.
///
/// Shapes: each parameter, gradient, m and v of one shape, dense.
/// Dtypes: parameter and gradient f32, f16 or bf16; m and v f32. Computed in f32; the parameter is rounded once.
/// Errors: kArgument for an undefined gradient (naming the parameter's position), for step < 1 and for numbers
///   out of range (lr, eps, weight_decay >= 0; 0 <= β < 1); kShape, kDtype, kDevice.
/// Gradient: none; the versions of parameters and state go up.
/// Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1711.05101
void adamw_(std::span<const AdamwParameter> parameters, std::int64_t step,
            const AdamwOptions& options = {});

/// Scales gradients in place so that their joint 2-norm is at most max_norm: g ·= min(1, max_norm / (norm + 1e-6)).
/// Returns the norm before clipping; the host does not wait for it. A norm that is NaN makes every gradient NaN, unless max_norm is infinite.
///
/// Shapes: any, dense; the result is [].
/// Dtypes: f32, f16, bf16, mixed freely; the result f32, accumulated in at least f32.
/// Errors: kArgument for an empty list, an undefined gradient (with its position), or a max_norm that is not
///   positive (infinity measures and leaves the gradients alone); kDtype, kDevice.
/// Gradient: none; the versions of the gradients go up.
/// Source: Pascanu et al. 2012, https://arxiv.org/abs/1211.5063; the 1e-6 is PyTorch's clip_grad_norm_
Tensor clip_grad_norm_(std::span<const Tensor> gradients, double max_norm);

}  // namespace wick
