#pragma once

#include "backends/cpu/large_page_allocator.hpp"
#include "runtime/allocator.hpp"

namespace wick::cpu {

/// The host's memory, aligned to cache lines.
class HostAllocator final : public RawAllocator {
 public:
  void* allocate(std::size_t bytes) noexcept override;
  void release(void* data, std::size_t bytes) noexcept override;
  bool host_accessible() const noexcept override { return true; }

 private:
  LargePageAllocator large_;
};

}  // namespace wick::cpu
