#pragma once

#include <cstdint>

#include "wick/layout/device.hpp"

namespace wick {

/// What the caching allocator of one device holds. Byte counts are of blocks as they are handed out,
/// after rounding up to a size class.
struct MemoryStats {
  std::int64_t live_bytes = 0;           ///< held by tensors now
  std::int64_t peak_bytes = 0;           ///< largest live_bytes since the last reset_peak_memory()
  std::int64_t cached_bytes = 0;         ///< freed by tensors, kept for reuse
  std::int64_t live_blocks = 0;          ///< number of blocks held by tensors
  std::int64_t num_allocations = 0;      ///< blocks handed out since the start
  std::int64_t num_raw_allocations = 0;  ///< of these, the ones that had to ask the system
  std::int64_t guard_violations = 0;     ///< writes outside a block seen in guard mode
};

/// The statistics of `device`. Throws Error kDevice when the device is absent.
MemoryStats memory_stats(Device device);

/// Sets peak_bytes to live_bytes.
void reset_peak_memory(Device device);

/// Gives cached blocks back to the system.
void empty_cache(Device device);

/// Refuses allocations beyond `bytes` (live and cached together) with Error kOutOfMemory; 0 removes
/// the limit. Throws Error kArgument when negative.
void set_memory_limit(Device device, std::int64_t bytes);

/// Surrounds each new block with guard bands and fills it with NaN patterns, so that a kernel that
/// writes outside its output or reads memory it never wrote is seen. For tests; costs time.
void set_allocation_guard(Device device, bool enabled);

}  // namespace wick
