#include "backends/mps/memory_map.hpp"

#include <algorithm>
#include <iterator>
#include <mutex>

#include "base/check.hpp"

namespace wick::mps {

void MemoryMap::add(const apple::metal::Buffer& buffer) {
  const std::unique_lock lock(mutex_);
  buffers_.emplace(buffer.contents(), buffer);
}

void MemoryMap::remove(const void* data, std::size_t length) noexcept {
  const std::unique_lock lock(mutex_);
  const auto [begin, end] = buffers_.equal_range(static_cast<const std::byte*>(data));
  const auto found =
      std::find_if(begin, end, [&](const auto& entry) { return entry.second.length() == length; });
  if (found != end) buffers_.erase(found);
}

BufferPlace MemoryMap::find(const void* data) const {
  const auto* const address = static_cast<const std::byte*>(data);
  const std::shared_lock lock(mutex_);
  const auto after = buffers_.upper_bound(address);
  if (after != buffers_.begin()) {
    const auto [begin, end] = buffers_.equal_range(std::prev(after)->first);
    const auto longest = std::max_element(begin, end, [](const auto& a, const auto& b) {
      return a.second.length() < b.second.length();
    });
    const auto offset = static_cast<std::size_t>(address - longest->first);
    if (offset < longest->second.length()) return {longest->second, offset};
  }
  detail::throw_internal("an address that belongs to no Metal buffer was given to a kernel");
}

std::size_t MemoryMap::size() const noexcept {
  const std::shared_lock lock(mutex_);
  return buffers_.size();
}

}  // namespace wick::mps
