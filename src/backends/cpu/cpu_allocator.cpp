#include "backends/cpu/cpu_allocator.hpp"

#include <cstdlib>

namespace wick::cpu {

namespace {

// A cache line, and the width of the widest vectors.
constexpr std::size_t kAlignment = 64;

}  // namespace

void* HostAllocator::allocate(std::size_t bytes) noexcept {
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  // SAFETY: the size is a multiple of the alignment, as aligned_alloc demands; release() frees it.
  return std::aligned_alloc(kAlignment, rounded);
}

void HostAllocator::release(void* data, std::size_t /*bytes*/) noexcept {
  // SAFETY: data came from aligned_alloc above and is released once, by the caching allocator.
  std::free(data);
}

}  // namespace wick::cpu
