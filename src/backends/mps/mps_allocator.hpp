#pragma once

#include "backends/mps/memory_map.hpp"
#include "runtime/allocator.hpp"

namespace wick::mps {

class MpsBackend;

/// Memory of the GPU as shared Metal buffers, handed out by the addresses that the host sees. The caching allocator above
/// it keeps the order of streams.
class BufferAllocator final : public RawAllocator {
 public:
  explicit BufferAllocator(MpsBackend& backend) : backend_(backend) {}
  void* allocate(std::size_t bytes) noexcept override;
  void release(void* data, std::size_t bytes) noexcept override;
  /// The host can reach the memory, but not at any time: the GPU may be at work on what a tensor has just given back.
  bool host_accessible() const noexcept override { return false; }
  void fill(void* data, std::byte value, std::size_t bytes, Stream& stream) noexcept override;

 private:
  MpsBackend& backend_;
};

}  // namespace wick::mps
