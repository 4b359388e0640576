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
  /// Forgets a buffer of this length whose contents begin at `data`.
  void remove(const void* data, std::size_t length) noexcept;
  /// The buffer that holds `data`. Throws Error kInternal when there is none.
  BufferPlace find(const void* data) const;
  /// How many buffers it knows.
  std::size_t size() const noexcept;

 private:
  mutable std::shared_mutex mutex_;
  // By first address. Buffers on memory of the host may share the pages at their ends; one that begins in a page reaches to
  // the end of that page at least, so that the last to begin before an address holds all that a tensor there can have.
  std::multimap<const std::byte*, apple::metal::Buffer> buffers_;
};

}  // namespace wick::mps
