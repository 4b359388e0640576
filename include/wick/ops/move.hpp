#pragma once

#include <cstdint>
#include <vector>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// Converts the elements to another dtype; the tensor itself when it has that dtype already.
///
/// Shapes: x any; out the same.
/// Dtypes: any to any. Floating to floating rounds to nearest even; floating to integer truncates towards
///   zero and saturates (NaN gives 0); integer to integer wraps around; to bool is "not zero".
/// Errors: none beyond an undefined tensor (kArgument).
/// Gradient: x, when both dtypes are floating; a conversion to an integer carries none.
/// Source: IEEE 754-2019, section 5.4.
Tensor cast(const Tensor& x, DType dtype);

/// The same elements without gaps in row-major order; the tensor itself when it is so already.
///
/// Shapes: x any; out the same.
/// Dtypes: any; out as x.
/// Errors: none beyond an undefined tensor (kArgument).
/// Gradient: x.
/// Source: elementary.
Tensor contiguous(const Tensor& x);

/// Overwrites dst with src, converting the dtype.
///
/// Shapes: src broadcasts to dst's shape; dst any layout that does not repeat elements.
/// Dtypes: any to any, as cast().
/// Errors: kShape when src does not broadcast, kDevice, kArgument when dst requires a gradient and ops are
///   recorded, or repeats elements, or lies in the same storage as src.
/// Gradient: none; dst's version goes up, so that a tape that saved it refuses to run.
/// Source: elementary.
void copy_(const Tensor& dst, const Tensor& src);

/// Overwrites every element with `value`, converted as cast() does.
///
/// Shapes: x any.
/// Dtypes: any.
/// Errors: kArgument when x requires a gradient and ops are recorded, or repeats elements.
/// Gradient: none; x's version goes up.
/// Source: elementary.
void fill_(const Tensor& x, double value);

/// Joins tensors along an axis.
///
/// Shapes: at least one tensor, of one rank >= 1, equal but for the size along `axis`; out's size there is
///   their sum. Negative axes count from the end.
/// Dtypes: any; one for all.
/// Errors: kArgument for an empty list, kShape, kDtype, kDevice.
/// Gradient: every tensor.
/// Source: elementary.
Tensor concatenate(const std::vector<Tensor>& tensors, int axis);

/// A view of elements begin, begin + step, … below `end` along an axis.
///
/// Shapes: 0 <= begin <= end <= size, step >= 1; out's size along `axis` is ⌈(end − begin) / step⌉.
/// Dtypes: any; out as x. out shares x's memory.
/// Errors: kShape for a bad axis, kArgument for a bad range or step.
/// Gradient: x; zeros outside the range.
/// Source: elementary.
Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end,
             std::int64_t step = 1);

}  // namespace wick
