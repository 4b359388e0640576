#pragma once

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// The products of a low-rank adapter with some hundred rows in f32, where a launch costs more than the sums: N or K is at
/// most 16, all is dense f32, b lies by columns. One launch, without TF32. Others are unsupported.
KernelStatus multiply_narrow(Stream& stream, const Product& product);

}  // namespace wick::cuda
