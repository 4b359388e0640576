#include "backends/cuda/cuda_allocator.hpp"

#include <cuda_runtime_api.h>

#include "backends/cuda/cuda_stream.hpp"

namespace wick::cuda {

void* DeviceAllocator::allocate(std::size_t bytes) noexcept {
  void* data = nullptr;
  if (cudaSetDevice(device_) != cudaSuccess) return nullptr;
  if (cudaMalloc(&data, bytes) != cudaSuccess) {
    cudaGetLastError();  // what is reported by the null pointer must not be found by the next launch
    return nullptr;
  }
  return data;
}

void DeviceAllocator::release(void* data, std::size_t /*bytes*/) noexcept {
  // cudaFree waits for the device by itself; at the end of the process the driver may be gone already.
  if (cudaSetDevice(device_) == cudaSuccess) cudaFree(data);
}

void DeviceAllocator::fill(void* data, std::byte value, std::size_t bytes,
                           Stream& stream) noexcept {
  cudaMemsetAsync(data, static_cast<int>(value), bytes, activate(stream));
}

}  // namespace wick::cuda
