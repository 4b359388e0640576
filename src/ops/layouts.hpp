#pragma once

#include <cstdint>

#include "tensor/tensor_impl.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick::detail {

// How ops bring operands into the layouts that kernels ask for. None of these records anything.

/// x as a matrix [numel / D, D] of its last axis, D = 1 for a scalar: a view where the rows are evenly
/// spaced and dense inside, else a copy. Kernels see stride(1) = 1 and any stride(0).
Tensor as_rows(const Tensor& x);

/// As as_rows(), dense.
Tensor dense_rows(const Tensor& x);

/// The same memory under another shape of as many elements; x must be dense.
Tensor with_shape(const Tensor& x, const Shape& shape);

/// x where its last axis is dense and it is aligned, else a copy: for kernels that take any other stride.
Tensor dense_last_axis(const Tensor& x);

/// x itself where it is aligned to its elements, else a copy: for kernels that take any stride.
Tensor aligned(const Tensor& x);

/// x with `axis` moved to the end (or back again).
Tensor move_axis_last(const Tensor& x, int axis);
Tensor move_axis_from_last(const Tensor& x, int axis);

/// gradient summed down to `shape`, which broadcasts to its shape.
Tensor sum_to_shape(const Tensor& gradient, const Shape& shape);

/// shape with the size along `axis` replaced.
Shape with_dim(const Shape& shape, int axis, std::int64_t size);

/// shape without its last axis, and with another appended.
Shape without_last(const Shape& shape);
Shape with_last(const Shape& shape, std::int64_t size);

}  // namespace wick::detail
