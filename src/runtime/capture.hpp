#pragma once

#include <cstdint>

#include "runtime/allocator.hpp"
#include "wick/base/error.hpp"
#include "wick/layout/device.hpp"

namespace wick {

/// The memory of recorded work: a pool that nobody else is handed.
class GraphMemory {
 public:
  GraphMemory(CachingAllocator& allocator, std::uint64_t pool)
      : allocator_(allocator), pool_(pool) {}
  ~GraphMemory() { allocator_.release_pool(pool_); }
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;
  std::uint64_t pool() const noexcept { return pool_; }

 private:
  CachingAllocator& allocator_;
  std::uint64_t pool_;
};

/// What a backend throws where work that is being captured would wait for the host, or take values from it that a repetition
/// would find gone.
inline Error host_in_capture(Device device) {
  return {ErrorKind::kUnsupported, "stream",
          to_string(device) + " cannot read or write values of the host while it captures"};
}

}  // namespace wick
