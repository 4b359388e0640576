#include "backends/cpu/cpu_allocator.hpp"

#include <sys/mman.h>

#include <cstdlib>

#include "base/platform.hpp"

namespace wick::cpu {

namespace {

// A cache line, and the width of the widest vectors.
constexpr std::size_t kAlignment = 64;

// Smaller blocks share small pages as it is. The address sanitizer sees more between blocks that the library gave.
constexpr std::size_t kSmallestOnLargePages = 4096;
#if defined(MADV_HUGEPAGE) && !defined(WICK_ADDRESS_SANITIZER)
constexpr bool kLargePages = true;
#else
constexpr bool kLargePages = false;
#endif

bool on_large_pages(std::size_t bytes) { return kLargePages && bytes >= kSmallestOnLargePages; }

}  // namespace

void* HostAllocator::allocate(std::size_t bytes) noexcept {
  if (on_large_pages(bytes)) return large_.allocate(bytes);
  // SAFETY: the size is a multiple of the alignment, as aligned_alloc demands; release() frees it.
  return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}

void HostAllocator::release(void* data, std::size_t bytes) noexcept {
  if (on_large_pages(bytes)) return large_.release(data, bytes);
  // SAFETY: data came from aligned_alloc above and is released once, by the caching allocator.
  std::free(data);
}

}  // namespace wick::cpu
