#include "backends/cuda/tensor_map.hpp"

#include <cuda_runtime.h>

#include "backends/cuda/cuda_check.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// From the driver, which is not linked: a machine without a GPU has none.
Encode encoder() {
  static const Encode function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                           cudaEnableDefault, &result),
          "cudaGetDriverEntryPointByVersion");
    if (result != cudaDriverEntryPointSuccess) {
      throw Error(ErrorKind::kBackend, "cuda", "the driver has no cuTensorMapEncodeTiled");
    }
    // SAFETY: the driver's function of that name and version has this type.
    return reinterpret_cast<Encode>(found);
  }();
  return function;
}

CUtensorMapSwizzle swizzle_of(int columns) {
  if (columns == 16) return CU_TENSOR_MAP_SWIZZLE_32B;
  return columns == 32 ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B;
}

}  // namespace

CUtensorMap tensor_map(DType dtype, void* data, std::int64_t rows, std::int64_t columns,
                       std::int64_t row_stride, int box_rows, int box_columns) {
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(row_stride) * 2};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(box_columns),
                             static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  CUtensorMap map;
  const CUresult result = encoder()(
      &map,
      dtype == DType::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
      data, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_of(box_columns),
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw Error(ErrorKind::kBackend, "cuda",
                "cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(result)));
  }
  return map;
}

}  // namespace wick::cuda
