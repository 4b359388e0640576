#include "backends/cuda/overlap.hpp"

#include <algorithm>
#include <functional>

#include "backends/cuda/cuda_check.hpp"

namespace wick::cuda {

namespace {

// More ranges than a token of a large model writes: a search stays short.
constexpr std::size_t kMostRanges = 512;

bool overlap(const MemoryRange& a, const MemoryRange& b) {
  // SAFETY: addresses are compared, not followed; std::less orders those of different blocks too.
  const auto end = [](const MemoryRange& r) { return static_cast<const char*>(r.begin) + r.bytes; };
  const std::less<const void*> before;
  return a.bytes > 0 && b.bytes > 0 && before(a.begin, end(b)) && before(b.begin, end(a));
}

__global__ void probe_kernel() {}

}  // namespace

MemoryRange range_of(const TensorView& view) {
  if (!view || view.numel() == 0) return {};
  std::int64_t last = 0;
  for (int axis = 0; axis < view.rank(); ++axis) last += (view.dim(axis) - 1) * view.stride(axis);
  return {view.data, static_cast<std::size_t>(last + 1) * size_of(view.dtype)};
}

bool OverlappingKernels::admit(std::span<const MemoryRange> early) const {
  const std::scoped_lock lock(mutex_);
  return any_ && written_.size() < kMostRanges &&
         std::ranges::none_of(
             early,
             [&](const MemoryRange& read) {
               return std::ranges::any_of(
                   written_, [&](const MemoryRange& written) { return overlap(read, written); });
             });
}

void OverlappingKernels::add(bool admitted, std::span<const MemoryRange> written) {
  const std::scoped_lock lock(mutex_);
  if (!admitted) written_.clear();
  any_ = true;
  for (const MemoryRange& range : written) {
    const bool known = std::ranges::any_of(written_, [&](const MemoryRange& other) {
      return other.begin == range.begin && other.bytes >= range.bytes;
    });
    if (!known && range.bytes > 0) written_.push_back(range);
  }
}

void OverlappingKernels::clear() {
  const std::scoped_lock lock(mutex_);
  written_.clear();
  any_ = false;
}

bool has_overlap_code() {
  constexpr int kHopper = 90;
  cudaFuncAttributes code{};
  check(cudaFuncGetAttributes(&code, probe_kernel), "cudaFuncGetAttributes");
  return code.ptxVersion >= kHopper && code.binaryVersion >= kHopper;
}

}  // namespace wick::cuda
