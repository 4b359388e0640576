#pragma once

#include "runtime/allocator.hpp"

namespace wick::null {

/// Memory of the host that starts as zeros: pages that nobody touches cost nothing.
class ZeroedAllocator final : public RawAllocator {
 public:
  void* allocate(std::size_t bytes) noexcept override;
  void release(void* data, std::size_t bytes) noexcept override;
  bool host_accessible() const noexcept override { return true; }
};

}  // namespace wick::null
