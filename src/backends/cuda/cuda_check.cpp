#include "backends/cuda/cuda_check.hpp"

#include <fmt/format.h>

#include <string>

#include "wick/base/error.hpp"

namespace wick::cuda {

void check(cudaError_t status, std::string_view call) {
  if (status == cudaSuccess) return;
  const ErrorKind kind =
      status == cudaErrorMemoryAllocation ? ErrorKind::kOutOfMemory : ErrorKind::kDevice;
  throw Error(kind, std::string(call),
              fmt::format("{}: {}", cudaGetErrorName(status), cudaGetErrorString(status)));
}

}  // namespace wick::cuda
