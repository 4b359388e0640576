#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/short_mutex.hpp"
#include "wick/layout/device.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

/// Gives and takes memory of one device: the system below a caching allocator.
class RawAllocator {
 public:
  virtual ~RawAllocator() = default;
  /// At least `bytes` (> 0) aligned to 64 bytes, or null when there is no more.
  virtual void* allocate(std::size_t bytes) noexcept = 0;
  virtual void release(void* data, std::size_t bytes) noexcept = 0;
  /// True when the host may touch the memory: only then can guard bands be written and checked.
  virtual bool host_accessible() const noexcept = 0;
  /// Sets `bytes` bytes of memory that the host cannot touch, in the order of `stream`.
  virtual void fill(void* /*data*/, std::byte /*value*/, std::size_t /*bytes*/,
                    Stream& /*stream*/) noexcept {}
};

/// A block as it was handed out.
struct Block {
  std::byte* data = nullptr;  ///< null when zero bytes were asked for
  std::size_t bytes = 0;      ///< held, after rounding up
  std::size_t requested = 0;  ///< usable
  std::uint64_t stream = 0;   ///< id of the stream on which it may be reused at once
  std::uint64_t pool = 0;     ///< of recorded work, 0 for none
  bool guarded = false;
};

/// Keeps freed blocks by size for reuse in stream order.
///
/// A block freed by the host may be handed out again on the stream it was allocated on at once: work
/// enqueued later runs later. A block that other streams used waits until events recorded on them are
/// complete. All members may be called from any thread.
class CachingAllocator {
 public:
  /// `system` must outlive the allocator.
  CachingAllocator(Device device, RawAllocator& system);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A block of at least `bytes` for use on `stream`. Throws Error kOutOfMemory with the statistics.
  Block allocate(std::size_t bytes, Stream& stream);
  /// Takes a block back. `fences` are events on other streams that used it.
  void release(const Block& block, std::vector<std::unique_ptr<Event>> fences) noexcept;

  /// Until end_pool(), what this thread takes for `stream` belongs to a pool: recorded work uses it whenever it is
  /// repeated, so until release_pool() only the pool hands it out again. Throws Error kArgument when this thread has
  /// begun one for the stream.
  std::uint64_t begin_pool(const Stream& stream);
  /// The same for more work, which is never repeated at the same time as that of the pool so far.
  void reopen_pool(std::uint64_t pool, const Stream& stream);
  void end_pool(std::uint64_t pool) noexcept;
  /// The recorded work is not repeated any more: its memory is the stream's.
  void release_pool(std::uint64_t pool) noexcept;

  MemoryStats stats() const;
  void reset_peak();
  void empty_cache();
  void set_limit(std::size_t bytes);
  void set_guard(bool enabled);

  /// The size class that `bytes` falls into.
  static std::size_t rounded_size(std::size_t bytes);

 private:
  struct Pending {
    Block block;
    std::vector<std::unique_ptr<Event>> fences;
  };
  using FreeBlocks = std::multimap<std::size_t, std::byte*>;
  struct Pool {
    std::uint64_t stream = 0;
    std::thread::id thread;  // of nobody once it has ended
    FreeBlocks free;
  };

  std::uint64_t open_pool(std::uint64_t stream) const;
  std::byte* take_for(Block& block);
  FreeBlocks& free_blocks_of(const Block& block);
  std::byte* take_cached(std::size_t& bytes, FreeBlocks& blocks);
  std::byte* take_raw(std::size_t bytes);
  void collect_pending();
  void release_cached();
  void put_guard(const Block& block) const;
  bool guard_intact(const Block& block) const;
  [[noreturn]] void throw_out_of_memory(std::size_t bytes) const;

  // All threads of a kernel take and give back their scratch at once.
  mutable detail::ShortMutex mutex_;
  Device device_;
  RawAllocator& system_;
  std::unordered_map<std::uint64_t, FreeBlocks> free_by_stream_;
  std::map<std::uint64_t, Pool> pools_;
  std::uint64_t last_pool_ = 0;
  std::vector<Pending> pending_;
  MemoryStats stats_;
  std::size_t limit_ = 0;
  bool guard_ = false;
};

}  // namespace wick
