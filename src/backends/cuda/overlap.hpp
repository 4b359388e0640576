#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "layout/tensor_view.hpp"

// Kernels that overlap: the next begins while the one before it still runs, and waits for it itself (hopper_order.cuh).

namespace wick::cuda {

/// Bytes of device memory.
struct MemoryRange {
  const void* begin = nullptr;
  std::size_t bytes = 0;
};

/// From the first to the last element; empty where there is none.
MemoryRange range_of(const TensorView& view);

/// The kernels at the end of a stream each of which lets the next begin before it is over. A kernel behind them may read
/// what none of them writes before it waits: everything enqueued before them is over when it begins.
class OverlappingKernels {
 public:
  /// Whether there are such kernels, and none writes into `early`, what the next one reads before it waits.
  bool admit(std::span<const MemoryRange> early) const;
  /// One more, the last in the stream, which was admitted or begins anew when all before it is over.
  void add(bool admitted, std::span<const MemoryRange> written);
  /// The last in the stream is no such kernel.
  void clear();

 private:
  mutable std::mutex mutex_;
  std::vector<MemoryRange> written_;
  bool any_ = false;
};

/// Whether the code that the current GPU runs of this backend can order such kernels: code for Hopper, or later.
bool has_overlap_code();

}  // namespace wick::cuda
