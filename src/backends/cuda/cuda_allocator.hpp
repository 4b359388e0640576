#pragma once

#include "runtime/allocator.hpp"

namespace wick::cuda {

/// The memory of one GPU, by cudaMalloc. The caching allocator above it keeps the order of streams.
class DeviceAllocator final : public RawAllocator {
 public:
  explicit DeviceAllocator(int device) : device_(device) {}
  void* allocate(std::size_t bytes) noexcept override;
  void release(void* data, std::size_t bytes) noexcept override;
  bool host_accessible() const noexcept override { return false; }
  void fill(void* data, std::byte value, std::size_t bytes, Stream& stream) noexcept override;

 private:
  int device_;
};

}  // namespace wick::cuda
