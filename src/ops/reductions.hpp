#pragma once

#include <vector>

#include "layout/layout.hpp"
#include "ops/checks.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::detail {

/// The axes of a reduction in the form that kernels take.
struct ReducedAxes {
  std::vector<int> order;  ///< kept axes, then reduced ones
  int num_reduced = 0;
  std::int64_t count = 1;  ///< elements per result
  Shape kept;              ///< shape without the reduced axes
  Shape with_ones;         ///< shape with 1 in their places
};

/// Checks `options.axes` against x. kShape for an axis out of range or named twice.
ReducedAxes reduced_axes(const Check& check, const Tensor& x, const ReduceOptions& options);

/// factor · Σ x, without recording.
Tensor reduce_sum(const Tensor& x, const ReducedAxes& axes, bool keepdim, double factor);

/// The gradient of reduce_sum(): factor · dy, repeated over what was reduced.
Tensor expand_gradient(const Tensor& dy, const ReducedAxes& axes, const Shape& shape,
                       double factor);

/// x [R,D] with `axis` last, in the layout of the selection kernels (any strides).
Tensor rows_along(const Tensor& x, int axis);

/// A result [R,K] of a selection along `axis` of x, back in x's order of axes with size K there.
Tensor from_rows(const Tensor& rows, const Shape& shape, int axis, std::int64_t size);

/// The gradient of a selection: zeros of `shape` with dy added at indices (both with `axis` of size K).
Tensor scatter_gradient(const Tensor& dy, const Tensor& indices, const Shape& shape, int axis);

}  // namespace wick::detail
