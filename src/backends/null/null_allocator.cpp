#include "backends/null/null_allocator.hpp"

#include <cstdlib>

namespace wick::null {

void* ZeroedAllocator::allocate(std::size_t bytes) noexcept {
  // SAFETY: release() frees it, once, by the caching allocator.
  return std::calloc(bytes, 1);
}

void ZeroedAllocator::release(void* data, std::size_t /*bytes*/) noexcept {
  // SAFETY: data came from calloc above.
  std::free(data);
}

}  // namespace wick::null
