#pragma once

#include "runtime/args/softmax_args.hpp"
#include "runtime/kernel_table.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick::detail {

/// softmax() and log_softmax(), which differ by their kernels only.
Tensor softmax_along(const Kernel<SoftmaxArgs>& forward,
                     const Kernel<SoftmaxBackwardArgs>& backward, const Tensor& x, int axis);

}  // namespace wick::detail
