#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/attention_kargs.hpp"
#include "runtime/args/attention_args.hpp"

namespace wick::mps {

static_assert(sizeof(AttentionKargs) == 176);

inline HeadStrides head_strides(const TensorView& view) {
  return {view.stride(0), view.stride(1), view.stride(2)};
}

/// Whether the sizes of a call fit the 32-bit integers of its kernels.
inline bool fits_attention(const TensorView& q, const TensorView& k) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  return q.dim(0) * q.dim(2) < kMost && k.dim(1) < kMost && q.dim(1) * q.dim(2) < kMost &&
         q.dim(3) < kMost;
}

inline AttentionKargs attention_kargs(const TensorView& q, const TensorView& k, const TensorView& v,
                                      const TensorView& out, const AttentionMask& mask,
                                      float scale) {
  const std::int64_t T = q.dim(1);
  const std::int64_t S = k.dim(1);
  const std::int64_t group = q.dim(2) / std::max<std::int64_t>(k.dim(2), 1);
  const auto small = [](std::int64_t size) { return static_cast<std::int32_t>(size); };
  return {.q = head_strides(q),
          .k = head_strides(k),
          .v = head_strides(v),
          .out = head_strides(out),
          .mask_batch = mask.key_mask ? mask.key_mask.stride(0) : 0,
          .mask_key = mask.key_mask ? mask.key_mask.stride(1) : 0,
          .segment_batch = mask.segments ? mask.segments.stride(0) : 0,
          .segment_key = mask.segments ? mask.segments.stride(1) : 0,
          .T = small(T),
          .S = small(S),
          .H = small(q.dim(2)),
          .Hkv = small(k.dim(2)),
          .Dh = small(q.dim(3)),
          .group = small(group),
          .rows = small(T * group),
          .first_position = small(S - T),
          // S + T reaches every key from every query.
          .window = small(std::min(mask.window, S + T)),
          .causal = mask.causal ? 1 : 0,
          .scale = scale,
          .unused = 0};
}

inline std::uint32_t given_of(const AttentionMask& mask) {
  return (mask.key_mask ? kGivenKeyMask : 0u) | (mask.segments ? kGivenSegments : 0u);
}

/// Runs a kernel of tiles: `items` of each key head, `rows` by each simdgroup of a threadgroup.
inline void run_tiles(Dispatch& dispatch, std::int64_t items, std::uint32_t rows,
                      std::int64_t width, std::int64_t heads) {
  dispatch.groups({static_cast<std::uint64_t>(ceil_div(items, std::int64_t{kTileSimds} * rows)),
                   static_cast<std::uint64_t>(ceil_div(width, kTileSlice)),
                   static_cast<std::uint64_t>(heads)},
                  {kTileThreads});
}

/// Floating-point operations of one product of queries and keys.
inline double attention_work(const TensorView& q, const TensorView& k) {
  return 2.0 * static_cast<double>(q.numel()) * static_cast<double>(k.dim(1));
}

}  // namespace wick::mps
