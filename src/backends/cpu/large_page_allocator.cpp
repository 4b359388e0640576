#include "backends/cpu/large_page_allocator.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

namespace wick::cpu {

namespace {

// Blocks begin at a small page: a loop that reads one block and writes another would wait where it reads, modulo this size,
// what it has just written.
constexpr std::size_t kAlignment = 4096;
// What is mapped costs nothing until it is touched, and at the end of each mapping a page may remain in part.
constexpr std::size_t kMapping = 16 * LargePageAllocator::kPage;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// The bytes from `data` to the next page.
std::size_t before_page(const std::byte* data) {
  // SAFETY: the address is only counted with.
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return round_up(address, LargePageAllocator::kPage) - address;
}

bool unmap(std::byte* data, std::size_t bytes) {
  // SAFETY: only part of a mapping of map_large() that nobody uses.
  return bytes == 0 || ::munmap(data, bytes) == 0;
}

// Whole pages at a page, or null.
std::byte* map_large(std::size_t bytes) {
  const std::size_t wide = bytes + LargePageAllocator::kPage;
  if (wide < bytes) return nullptr;
  // SAFETY: a new mapping of nobody else's addresses; blocks are cut from it, and unmap_pages() gives it back.
  void* const mapped =
      ::mmap(nullptr, wide, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const start = static_cast<std::byte*>(mapped);
  const std::size_t skipped = before_page(start);
  unmap(start, skipped);
  unmap(start + skipped + bytes, wide - skipped - bytes);
#if defined(MADV_HUGEPAGE)
  ::madvise(start + skipped, bytes, MADV_HUGEPAGE);  // advice: where it fails nothing is lost
#endif
  return start + skipped;
}

}  // namespace

void* LargePageAllocator::allocate(std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  const std::size_t size = round_up(bytes, kAlignment);
  if (size < bytes) return nullptr;
  Ranges::iterator range = smallest_fit(size);
  if (range == free_.end()) range = map_pages(size);
  if (range == free_.end()) return nullptr;
  std::byte* const data = range->second;
  range->second += size;
  if (range->second == range->first) free_.erase(range);
  return data;
}

void LargePageAllocator::release(void* data, std::size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  auto* const begin = static_cast<std::byte*>(data);
  unmap_pages(insert(begin, begin + round_up(bytes, kAlignment)));
}

std::size_t LargePageAllocator::mapped_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return mapped_bytes_;
}

// The smallest: what is left of pages that are in use already is filled before new ones are touched.
LargePageAllocator::Ranges::iterator LargePageAllocator::smallest_fit(std::size_t bytes) noexcept {
  const auto size = [](const Ranges::iterator& range) {
    return static_cast<std::size_t>(range->first - range->second);
  };
  Ranges::iterator best = free_.end();
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    if (size(range) >= bytes && (best == free_.end() || size(range) < size(best))) best = range;
  }
  return best;
}

LargePageAllocator::Ranges::iterator LargePageAllocator::map_pages(std::size_t bytes) noexcept {
  std::size_t size = round_up(bytes, kPage);
  if (size < bytes) return free_.end();
  std::byte* data = size < kMapping ? map_large(kMapping) : nullptr;
  if (data != nullptr) {
    size = kMapping;
  } else {
    data = map_large(size);
  }
  if (data == nullptr) return free_.end();
  mapped_bytes_ += size;
  return insert(data, data + size);
}

// Joined with the free neighbours.
LargePageAllocator::Ranges::iterator LargePageAllocator::insert(std::byte* begin,
                                                                std::byte* end) noexcept {
  if (const auto before = free_.find(begin); before != free_.end()) {
    begin = before->second;
    free_.erase(before);
  }
  if (const auto after = free_.upper_bound(end); after != free_.end() && after->second == end) {
    after->second = begin;
    return after;
  }
  return free_.emplace(end, begin).first;
}

void LargePageAllocator::unmap_pages(Ranges::iterator range) noexcept {
  const auto [end, begin] = *range;
  const auto size = static_cast<std::size_t>(end - begin);
  const std::size_t head = std::min(before_page(begin), size);
  const std::size_t pages = (size - head) / kPage * kPage;
  // Where the system refuses, having too many mappings, they remain free here.
  if (pages == 0 || !unmap(begin + head, pages)) return;
  mapped_bytes_ -= pages;
  if (head + pages == size) {
    free_.erase(range);
  } else {
    range->second = begin + head + pages;
  }
  if (head > 0) free_.emplace(begin + head, begin);
}

}  // namespace wick::cpu
