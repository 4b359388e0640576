#pragma once

#include <cstdint>
#include <vector>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// Which axes a reduction removes.
struct ReduceOptions {
  std::vector<int> axes = {};  ///< negative ones count from the end; empty means all
  bool keepdim = false;        ///< leaves a size of 1 in place of each
};

/// A reduction's values with the positions they came from.
struct ValuesAndIndices {
  Tensor values;
  Tensor indices;  ///< i64
};

/// Sum over axes.
///
/// Shapes: x any; out without the reduced axes. The sum of nothing is 0.
/// Dtypes: f32, f16, bf16 give the same (accumulated in at least f32, rounded once); i32, i64 give i64.
/// Errors: kShape for an axis out of range or named twice, kDtype.
/// Gradient: x.
/// Source: elementary.
Tensor sum(const Tensor& x, const ReduceOptions& options = {});

/// Mean over axes.
///
/// Shapes: as sum(); the number of reduced elements must not be 0.
/// Dtypes: f32, f16, bf16; out as x, accumulated in at least f32.
/// Errors: kShape for an axis out of range or named twice and for an empty mean, kDtype.
/// Gradient: x.
/// Source: elementary.
Tensor mean(const Tensor& x, const ReduceOptions& options = {});

/// Largest element along an axis, with its position. The first of equals wins; a NaN counts as largest.
///
/// Shapes: rank >= 1, the size along `axis` is not 0; both results without the axis (or 1 with keepdim).
/// Dtypes: f32, f16, bf16, i32, i64; values as x.
/// Errors: kShape, kDtype.
/// Gradient: x, at the position of the largest element.
/// Source: elementary.
ValuesAndIndices max(const Tensor& x, int axis, bool keepdim = false);

/// Position of the largest element along an axis. The first of equals wins; a NaN counts as largest.
///
/// Shapes: as max().
/// Dtypes: f32, f16, bf16, i32, i64; out i64.
/// Errors: kShape, kDtype, kUnsupported when x requires a gradient and ops are recorded.
/// Gradient: none.
/// Source: elementary.
Tensor argmax(const Tensor& x, int axis, bool keepdim = false);

/// The k largest elements along an axis, largest first, equals in order of position.
///
/// Shapes: rank >= 1, 1 <= k <= size along `axis`, which becomes k in both results.
/// Dtypes: f32, f16, bf16, i32, i64; values as x.
/// Errors: kShape, kDtype, kArgument for k out of range.
/// Gradient: x, at the positions chosen.
/// Source: elementary.
ValuesAndIndices top_k(const Tensor& x, std::int64_t k, int axis = -1);

}  // namespace wick
