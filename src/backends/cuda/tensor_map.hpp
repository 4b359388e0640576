#pragma once

#include <cuda.h>

#include <cstdint>

#include "wick/layout/dtype.hpp"

namespace wick::cuda {

/// How the copy engine (TMA) sees a row-major matrix of 16-bit elements, cut into boxes whose rows of 16, 32 or 64
/// elements are swizzled by as many bytes as they have. What lies outside of the matrix is read as zero.
/// Throws Error kBackend.
CUtensorMap tensor_map(DType dtype, void* data, std::int64_t rows, std::int64_t columns,
                       std::int64_t row_stride, int box_rows, int box_columns = 64);

}  // namespace wick::cuda
