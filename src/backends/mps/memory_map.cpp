#include "backends/mps/memory_map.hpp"

#include <mutex>

#include "base/check.hpp"

namespace wick::mps {

void MemoryMap::add(const apple::metal::Buffer& buffer) {
  const std::unique_lock lock(mutex_);
  buffers_.insert_or_assign(buffer.contents(), buffer);
}

void MemoryMap::remove(const void* data) noexcept {
  const std::unique_lock lock(mutex_);
  buffers_.erase(static_cast<const std::byte*>(data));
}

BufferPlace MemoryMap::find(const void* data) const {
  const auto* const address = static_cast<const std::byte*>(data);
  const std::shared_lock lock(mutex_);
  auto after = buffers_.upper_bound(address);
  if (after != buffers_.begin()) {
    const auto& [begin, buffer] = *--after;
    const auto offset = static_cast<std::size_t>(address - begin);
    if (offset < buffer.length()) return {buffer, offset};
  }
  detail::throw_internal("an address that belongs to no Metal buffer was given to a kernel");
}

std::size_t MemoryMap::size() const noexcept {
  const std::shared_lock lock(mutex_);
  return buffers_.size();
}

}  // namespace wick::mps
