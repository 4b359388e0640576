#pragma once

#include "wick/tensor/tensor.hpp"

namespace wick {

/// Rows of a table: out[…,:] = weight[ids[…],:].
///
/// Shapes: weight [V,D], ids any of rank <= 5; out ids' shape with D appended.
/// Dtypes: weight f32, f16 or bf16; ids i32 or i64; out as weight.
/// Errors: kShape, kDtype, kDevice; kArgument for an id outside [0, V), with its position.
/// Gradient: weight, when it requires one (rows of equal ids add up in f32).
/// Source: elementary.
Tensor embedding(const Tensor& weight, const Tensor& ids);

}  // namespace wick
