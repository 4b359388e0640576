#pragma once

#include "wick/tensor/tensor.hpp"

namespace wick {

/// Element-wise sum with broadcasting: out = a + b.
///
/// Shapes: a and b broadcast to one shape (matched from the last dimension, 1 repeats); out has it.
/// Dtypes: f32, f16, bf16, i32, i64; equal for a and b, and out's. Floating: computed in f32 and rounded
///   once; integers wrap around.
/// Errors: kShape when the shapes do not broadcast, kDtype, kDevice.
/// Gradient: a, b; summed over what was broadcast.
/// Source: NumPy broadcasting rules, https://numpy.org/doc/stable/user/basics.broadcasting.html
Tensor add(const Tensor& a, const Tensor& b);

/// Element-wise difference with broadcasting: out = a − b.
///
/// Shapes: as add().
/// Dtypes: as add().
/// Errors: as add().
/// Gradient: a, b; summed over what was broadcast.
/// Source: NumPy broadcasting rules, https://numpy.org/doc/stable/user/basics.broadcasting.html
Tensor sub(const Tensor& a, const Tensor& b);

/// Element-wise product with broadcasting: out = a · b.
///
/// Shapes: as add().
/// Dtypes: as add().
/// Errors: as add().
/// Gradient: a, b; summed over what was broadcast.
/// Source: NumPy broadcasting rules, https://numpy.org/doc/stable/user/basics.broadcasting.html
Tensor mul(const Tensor& a, const Tensor& b);

/// Product with a number: out = factor · x.
///
/// Shapes: x any; out the same.
/// Dtypes: f32, f16, bf16; out as x. The factor is rounded to f32.
/// Errors: kDtype.
/// Gradient: x.
/// Source: elementary.
Tensor scale(const Tensor& x, double factor);

}  // namespace wick
