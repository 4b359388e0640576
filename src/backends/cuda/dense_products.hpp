#pragma once

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// Enqueues a product of any dtypes and strides, empty ones included: by the forced variant of matmul, else by
/// cuBLASLt, with operands converted or made dense where it asks for that, else by a plain kernel.
KernelStatus multiply(Stream& stream, const Product& product);

}  // namespace wick::cuda
