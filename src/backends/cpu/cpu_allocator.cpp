#include "backends/cpu/cpu_allocator.hpp"

#include <sys/mman.h>

#include <cstdlib>

namespace wick::cpu {

namespace {

// A cache line, and the width of the widest vectors.
constexpr std::size_t kAlignment = 64;
// Larger blocks begin at a page of this size, so that the system can use such pages: reading a weight once for each token
// meets a page after the other, and looking up small ones takes longer than their content.
constexpr std::size_t kLargePage = std::size_t{2} << 20U;

// The rest of a block keeps small pages, so that no memory is used beyond what was asked for.
void prefer_large_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  ::madvise(data, bytes / kLargePage * kLargePage,
            MADV_HUGEPAGE);  // advice: where it fails nothing is lost
#endif
}

}  // namespace

void* HostAllocator::allocate(std::size_t bytes) noexcept {
  const std::size_t alignment = bytes >= kLargePage ? kLargePage : kAlignment;
  // SAFETY: the size is a multiple of the alignment, as aligned_alloc demands; release() frees it.
  void* const data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (bytes >= kLargePage && data != nullptr) prefer_large_pages(data, bytes);
  return data;
}

void HostAllocator::release(void* data, std::size_t /*bytes*/) noexcept {
  // SAFETY: data came from aligned_alloc above and is released once, by the caching allocator.
  std::free(data);
}

}  // namespace wick::cpu
