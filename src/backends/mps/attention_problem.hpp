#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/attention_kargs.hpp"
#include "runtime/args/attention_args.hpp"

namespace wick::mps {

static_assert(sizeof(AttentionKargs) == 192);

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
          .split_elements = q.numel(),
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
          .slices = small(ceil_div(q.dim(3), kTileSlice)),
          .splits = 1,
          .split_keys = small(S)};
}

/// Whether rows of these operands are whole float4s at addresses that are, too.
inline bool whole_quads(std::initializer_list<const TensorView*> operands) {
  constexpr std::int64_t kQuad = 4;
  for (const TensorView* x : operands) {
    if (x->dim(3) % kQuad != 0 || !is_aligned(x->data, kQuad * size_of(x->dtype))) return false;
    for (int axis = 0; axis < 3; ++axis) {
      if (x->dim(axis) > 1 && x->stride(axis) % kQuad != 0) return false;
    }
  }
  return true;
}

inline std::uint32_t given_of(const AttentionMask& mask,
                              std::initializer_list<const TensorView*> operands) {
  return (mask.key_mask ? kGivenKeyMask : 0u) | (mask.segments ? kGivenSegments : 0u) |
         (whole_quads(operands) ? std::uint32_t{kGivenWholeQuads} : 0u);
}

/// Runs a kernel of tiles over `items` of each key head, `rows` of them by each simdgroup of a threadgroup.
inline void run_tiles(Dispatch& dispatch, const AttentionKargs& kargs, std::int64_t items,
                      std::uint32_t rows, std::int64_t heads) {
  const auto tiles = ceil_div(items, std::int64_t{kTileSimds} * rows);
  dispatch.groups(
      {static_cast<std::uint64_t>(tiles), static_cast<std::uint64_t>(kargs.slices) * kargs.splits,
       static_cast<std::uint64_t>(heads)},
      {kTileThreads});
}

/// Floating-point operations of one product of queries and keys.
inline double attention_work(const TensorView& q, const TensorView& k) {
  return 2.0 * static_cast<double>(q.numel()) * static_cast<double>(k.dim(1));
}

}  // namespace wick::mps
