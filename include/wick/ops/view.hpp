#pragma once

#include <vector>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// The same elements in row-major order under another shape; a view where strides allow, else a copy.
///
/// Shapes: the element counts are equal.
/// Dtypes: any; out as x.
/// Errors: kShape when the counts differ.
/// Gradient: x.
/// Source: elementary.
Tensor reshape(const Tensor& x, const Shape& shape);

/// A view whose dimension i is dimension order[i] of x.
///
/// Shapes: `order` is a permutation of 0 … rank − 1; negative axes count from the end.
/// Dtypes: any; out as x. out shares x's memory.
/// Errors: kShape when `order` is not a permutation.
/// Gradient: x.
/// Source: elementary.
Tensor permute(const Tensor& x, const std::vector<int>& order);

/// A view with two axes exchanged; by default the last two.
///
/// Shapes: rank >= 2 for the default, both axes in range; negative axes count from the end.
/// Dtypes: any; out as x. out shares x's memory.
/// Errors: kShape for a bad axis.
/// Gradient: x.
/// Source: elementary.
Tensor transpose(const Tensor& x, int axis_a = -2, int axis_b = -1);

/// A view that repeats x up to `shape` without copying.
///
/// Shapes: x broadcasts to `shape` (matched from the last dimension, 1 repeats).
/// Dtypes: any; out as x. out shares x's memory; ops that write refuse it.
/// Errors: kShape when x does not broadcast.
/// Gradient: x; summed over what was repeated.
/// Source: NumPy broadcasting rules, https://numpy.org/doc/stable/user/basics.broadcasting.html
Tensor broadcast_to(const Tensor& x, const Shape& shape);

}  // namespace wick
