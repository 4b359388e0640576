#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include "runtime/allocator.hpp"

namespace wick::cpu {

/// Lays blocks one after the other onto large pages of the system, which it is asked to use.
///
/// A decoded token reads every weight once: on small pages it waits for the table of pages as well as for memory. Most weights
/// are smaller than a large page or no multiple of one, so blocks share pages. What is held beyond the blocks is what
/// lies free between them and the rest of the last page of a mapping; a page goes back to the system with the last block on it.
/// All members may be called from any thread.
class LargePageAllocator final : public RawAllocator {
 public:
  /// A large page; mappings are multiples of it.
  static constexpr std::size_t kPage = std::size_t{2} << 20U;

  void* allocate(std::size_t bytes) noexcept override;
  void release(void* data, std::size_t bytes) noexcept override;
  bool host_accessible() const noexcept override { return true; }

  /// What the system has lent: blocks, what is free between them, and what was not used yet.
  std::size_t mapped_bytes() const noexcept;

 private:
  using Ranges =
      std::map<std::byte*, std::byte*>;  // end to begin, so that a range is used from its begin on

  Ranges::iterator smallest_fit(std::size_t bytes) noexcept;
  Ranges::iterator map_pages(std::size_t bytes) noexcept;
  Ranges::iterator insert(std::byte* begin, std::byte* end) noexcept;
  void unmap_pages(Ranges::iterator range) noexcept;

  mutable std::mutex mutex_;
  Ranges free_;
  std::size_t mapped_bytes_ = 0;
};

}  // namespace wick::cpu
