#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

namespace wick::cuda {

/// Throws Error kDevice, or kOutOfMemory, with CUDA's own words when `status` is no success.
void check(cudaError_t status, std::string_view call);

}  // namespace wick::cuda
