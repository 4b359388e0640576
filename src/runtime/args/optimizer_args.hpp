#pragma once

#include <cstdint>
#include <span>

#include "layout/tensor_view.hpp"

namespace wick {

/// One parameter of an optimizer step: param and grad of any floating dtype, m and v f32; dense, one shape.
struct AdamwTensor {
  TensorView param, grad, m, v;
};

/// m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g²,
/// param −= lr · (m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + eps) + weight_decay · param), t = step >= 1, in float32.
/// `lr_tensor` ([] f32) and `step_tensor` ([] i64) replace lr and step when present: they are read when the
/// kernel runs, so that a captured graph need not change.
struct AdamwArgs {
  std::span<const AdamwTensor> tensors;
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  std::int64_t step = 1;
  TensorView lr_tensor, step_tensor;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    for (const AdamwTensor& tensor : tensors) {
      visit("param", tensor.param);
      visit("grad", tensor.grad);
      visit("m", tensor.m);
      visit("v", tensor.v);
    }
    visit("lr_tensor", lr_tensor);
    visit("step_tensor", step_tensor);
  }
};

/// out = √(Σ over all elements of all tensors of x²). Tensors dense and floating; out [] f32.
struct GlobalNormArgs {
  std::span<const TensorView> tensors;
  TensorView out;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    for (const TensorView& tensor : tensors) visit("tensor", tensor);
    visit("out", out);
  }
};

/// Every tensor ·= min(1, max_norm / (norm + 1e-6)). norm [] f32; tensors dense and floating.
struct ClipByNormArgs {
  std::span<const TensorView> tensors;
  TensorView norm;
  double max_norm = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    for (const TensorView& tensor : tensors) visit("tensor", tensor);
    visit("norm", norm);
  }
};

}  // namespace wick
