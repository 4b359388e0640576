#include "runtime/allocator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include "base/platform.hpp"
#include "runtime/refusal.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

constexpr std::size_t kSmallestBlock = 256;
// A cached block may be larger than what is asked for by at most this share: 1/8.
constexpr std::size_t kSlackShift = 3;
constexpr std::size_t kLargestStep = std::size_t{2} << 20;
constexpr std::size_t kGuardBytes = 64;
constexpr auto kGuardPattern = std::byte{0xA5};
// All bits set is a NaN in every floating dtype and -1 in every integer one.
constexpr auto kFreshPattern = std::byte{0xFF};

std::int64_t to_signed(std::size_t bytes) { return static_cast<std::int64_t>(bytes); }

thread_local std::optional<std::int64_t> refused_live_bytes;

}  // namespace

std::optional<std::int64_t> take_refused_live_bytes() noexcept {
  return std::exchange(refused_live_bytes, std::nullopt);
}

CachingAllocator::CachingAllocator(Device device, RawAllocator& system)
    : device_(device), system_(system) {}

CachingAllocator::~CachingAllocator() {
  while (!pools_.empty()) release_pool(pools_.begin()->first);
  for (Pending& pending : pending_) {
    free_by_stream_[pending.block.stream].emplace(pending.block.bytes, pending.block.data);
  }
  pending_.clear();
  release_cached();
}

// Eight classes an octave: at most 12.5 % of a block is lost to rounding, and of a large one 2 MiB, the page of a GPU.
std::size_t CachingAllocator::rounded_size(std::size_t bytes) {
  if (bytes <= kSmallestBlock) return bytes == 0 ? 0 : kSmallestBlock;
  const std::size_t step = std::min(std::bit_floor(bytes - 1) >> kSlackShift, kLargestStep);
  return (bytes + step - 1) / step * step;
}

Block CachingAllocator::allocate(std::size_t bytes, Stream& stream) {
  Block block{.requested = bytes, .stream = stream.id()};
  if (bytes == 0) return block;
  const std::lock_guard lock(mutex_);
  collect_pending();
  block.pool = open_pool(block.stream);
  // A repetition writes all blocks again that have had a place in the pool's memory, across each other's ends.
  block.guarded = guard_ && system_.host_accessible() && block.pool == 0;
  block.bytes = rounded_size(block.guarded ? bytes + 2 * kGuardBytes : bytes);
  block.data = take_for(block);
  stats_.live_bytes += to_signed(block.bytes);
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
  ++stats_.live_blocks;
  ++stats_.num_allocations;
  if (block.guarded) {
    detail::unpoison_memory(block.data, block.bytes);
    block.data += kGuardBytes;
    put_guard(block);
  } else {
    detail::unpoison_memory(block.data, bytes);
    if (guard_) system_.fill(block.data, kFreshPattern, bytes, stream);
  }
  return block;
}

void CachingAllocator::release(const Block& given,
                               std::vector<std::unique_ptr<Event>> fences) noexcept {
  if (given.data == nullptr) return;
  const std::lock_guard lock(mutex_);
  Block block = given;
  if (block.guarded) {
    if (!guard_intact(block)) ++stats_.guard_violations;
    block.data -= kGuardBytes;
  }
  stats_.live_bytes -= to_signed(block.bytes);
  stats_.cached_bytes += to_signed(block.bytes);
  --stats_.live_blocks;
  // Where work of the device runs later, or again, it may still reach the block.
  if (system_.host_accessible() && block.pool == 0) {
    detail::poison_memory(block.data, block.bytes);
  }
  if (fences.empty()) {
    free_blocks_of(block).emplace(block.bytes, block.data);
  } else {
    pending_.push_back({block, std::move(fences)});
  }
}

void CachingAllocator::collect_pending() {
  std::erase_if(pending_, [&](const Pending& pending) {
    const bool complete = std::ranges::all_of(
        pending.fences, [](const std::unique_ptr<Event>& fence) { return fence->is_complete(); });
    if (complete) {
      free_blocks_of(pending.block).emplace(pending.block.bytes, pending.block.data);
    }
    return complete;
  });
}

std::uint64_t CachingAllocator::begin_pool(const Stream& stream) {
  const std::lock_guard lock(mutex_);
  if (open_pool(stream.id()) != 0) {
    throw Error(ErrorKind::kArgument, "allocate", "the stream has a pool of this thread already");
  }
  pools_[++last_pool_] = {.stream = stream.id(), .thread = std::this_thread::get_id(), .free = {}};
  return last_pool_;
}

void CachingAllocator::reopen_pool(std::uint64_t pool, const Stream& stream) {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found == pools_.end() || found->second.stream != stream.id() || open_pool(stream.id()) != 0) {
    throw Error(ErrorKind::kArgument, "allocate",
                "the pool is of another stream, or this thread has one open");
  }
  found->second.thread = std::this_thread::get_id();
}

void CachingAllocator::end_pool(std::uint64_t pool) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found != pools_.end()) found->second.thread = {};
}

void CachingAllocator::release_pool(std::uint64_t pool) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return;
  for (const auto& [bytes, data] : found->second.free) {
    if (system_.host_accessible()) detail::poison_memory(data, bytes);
  }
  free_by_stream_[found->second.stream].merge(found->second.free);
  pools_.erase(found);
}

std::uint64_t CachingAllocator::open_pool(std::uint64_t stream) const {
  for (const auto& [number, pool] : pools_) {
    if (pool.stream == stream && pool.thread == std::this_thread::get_id()) return number;
  }
  return 0;
}

// What a pool is handed from the stream's blocks remains with it: the work before it on the stream is over by then.
std::byte* CachingAllocator::take_for(Block& block) {
  std::byte* data = nullptr;
  if (block.pool != 0) data = take_cached(block.bytes, pools_[block.pool].free);
  if (data == nullptr) data = take_cached(block.bytes, free_by_stream_[block.stream]);
  return data == nullptr ? take_raw(block.bytes) : data;
}

CachingAllocator::FreeBlocks& CachingAllocator::free_blocks_of(const Block& block) {
  const auto found = pools_.find(block.pool);
  return found == pools_.end() ? free_by_stream_[block.stream] : found->second.free;
}

// The smallest block that fits with little slack; `bytes` becomes its true size.
std::byte* CachingAllocator::take_cached(std::size_t& bytes, FreeBlocks& blocks) {
  const auto found = blocks.lower_bound(bytes);
  if (found == blocks.end() || found->first > bytes + (bytes >> kSlackShift)) return nullptr;
  std::byte* const data = found->second;
  bytes = found->first;
  stats_.cached_bytes -= to_signed(bytes);
  blocks.erase(found);
  return data;
}

std::byte* CachingAllocator::take_raw(std::size_t bytes) {
  const auto over_limit = [&] {
    return limit_ != 0 &&
           static_cast<std::size_t>(stats_.live_bytes + stats_.cached_bytes) + bytes > limit_;
  };
  if (over_limit()) release_cached();
  if (over_limit()) throw_out_of_memory(bytes);
  void* data = system_.allocate(bytes);
  if (data == nullptr) {
    release_cached();
    data = system_.allocate(bytes);
  }
  if (data == nullptr) throw_out_of_memory(bytes);
  ++stats_.num_raw_allocations;
  return static_cast<std::byte*>(data);
}

void CachingAllocator::release_cached() {
  for (auto& [stream, blocks] : free_by_stream_) {
    for (const auto& [bytes, data] : blocks) {
      detail::unpoison_memory(data, bytes);
      system_.release(data, bytes);
      stats_.cached_bytes -= to_signed(bytes);
    }
    blocks.clear();
  }
}

// [64 bytes of pattern | requested bytes, poisoned | pattern to the end of the block]
void CachingAllocator::put_guard(const Block& block) const {
  std::byte* const end = block.data + block.requested;
  std::fill(block.data - kGuardBytes, block.data, kGuardPattern);
  std::fill(block.data, end, kFreshPattern);
  std::fill(end, block.data - kGuardBytes + block.bytes, kGuardPattern);
}

bool CachingAllocator::guard_intact(const Block& block) const {
  const auto is_guard = [](std::byte value) { return value == kGuardPattern; };
  return std::all_of(block.data - kGuardBytes, block.data, is_guard) &&
         std::all_of(block.data + block.requested, block.data - kGuardBytes + block.bytes,
                     is_guard);
}

void CachingAllocator::throw_out_of_memory(std::size_t bytes) const {
  refused_live_bytes = stats_.live_bytes;
  throw Error(ErrorKind::kOutOfMemory, "allocate",
              fmt::format("{} has no room for {} bytes: {} live in {} blocks, {} cached, limit {}",
                          to_string(device_), bytes, stats_.live_bytes, stats_.live_blocks,
                          stats_.cached_bytes, limit_ == 0 ? "none" : std::to_string(limit_)));
}

MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.live_bytes;
}

void CachingAllocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  collect_pending();
  release_cached();
}

void CachingAllocator::set_limit(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
}

void CachingAllocator::set_guard(bool enabled) {
  const std::lock_guard lock(mutex_);
  guard_ = enabled;
}

}  // namespace wick
