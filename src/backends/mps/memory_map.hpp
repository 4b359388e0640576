#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <shared_mutex>

#include "wick/apple/metal.hpp"

namespace wick::mps {

/// A place in a Metal buffer.
struct BufferPlace {
  apple::metal::Buffer buffer;
  std::size_t offset = 0;
};

/// Which Metal buffer an address belongs to: tensors know addresses, Metal wants buffers. May be used by several threads.
class MemoryMap {
 public:
  /// Notes a buffer by the addresses of its contents.
  void add(const apple::metal::Buffer& buffer);
  /// Forgets the buffer whose contents begin at `data`.
  void remove(const void* data) noexcept;
  /// The buffer that holds `data`. Throws Error kInternal when there is none.
  BufferPlace find(const void* data) const;
  /// How many buffers it knows.
  std::size_t size() const noexcept;

 private:
  mutable std::shared_mutex mutex_;
  std::map<const std::byte*, apple::metal::Buffer, std::less<>> buffers_;  // by first address
};

}  // namespace wick::mps
