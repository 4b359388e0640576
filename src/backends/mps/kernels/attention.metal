#include "backends/mps/kernels/attention_kargs.hpp"
#include "backends/mps/kernels/common.metal"

using namespace wick::mps;

#include "backends/mps/kernels/attention_tiles.metal"

// out = softmax(scale · q kᵀ + mask) v by an online softmax. A threadgroup owns 4 · kTileRows rows of a key head and a slice
// of the columns; its grid is [tiles of rows, slices, B · Hkv]. Memory beyond the outputs does not depend on T · S.
kernel void attention(device const uchar* q [[buffer(0)]], device const uchar* k [[buffer(1)]],
                      device const uchar* v [[buffer(2)]],
                      device const uchar* key_mask [[buffer(3)]],
                      device const int* segments [[buffer(4)]], device uchar* out [[buffer(5)]],
                      device float* lse [[buffer(6)]], constant AttentionKargs& args [[buffer(7)]],
                      uint3 group [[threadgroup_position_in_grid]],
                      uint thread_index [[thread_index_in_threadgroup]],
                      uint simd [[simdgroup_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float4 row_tile[kTileLanes * kPitch];
  threadgroup float4 key_tile[kTileLanes * kPitch];
  threadgroup float weights[kTileLanes * kTileLanes];
  threadgroup long row_at[kTileLanes];
  threadgroup long key_at[kTileLanes];
  threadgroup long value_at[kTileLanes];
  threadgroup int4 items[kTileLanes];
  TilePlace place;
  place.thread_index = thread_index;
  place.simd = simd;
  place.lane = lane;
  const uint b = group.z / uint(args.Hkv);
  const uint hkv = group.z % uint(args.Hkv);
  const int tile_rows = int(kTileSimds * kTileRows);
  const int first_row = int(group.x) * tile_rows;
  const int last_row = min(first_row + tile_rows, args.rows) - 1;
  const uint first_column = group.y * kTileSlice;
  const uint width = uint(args.Dh);
  if (int(thread_index) < tile_rows) {
    items[thread_index] = row_item(args, segments, b, first_row + int(thread_index));
    row_at[thread_index] = row_offset(args, args.q, b, hkv, first_row + int(thread_index));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int4 item = items[min(int(lane), tile_rows - 1)];
  const int2 range = segment_range(item.x < item.y, item.z);
  const int begin = keys_of_query(args, args.first_position + first_row / args.group).x;
  const int end = keys_of_query(args, args.first_position + last_row / args.group).y;
  float most[kMostTileRows];
  float total[kMostTileRows];
  float dots[kMostTileRows];
  float sums[kMostTileRows][kColumns];
  for (uint r = 0; r < kTileRows; ++r) {
    most[r] = -INFINITY;
    total[r] = 0.0f;
    for (uint i = 0; i < kColumns; ++i) sums[r][i] = 0.0f;
  }
  bool has_rows = false;  // whether they are in row_tile to stay
  for (int first_key = begin / 32 * 32; first_key < end; first_key += 32) {
    const int2 key = key_item(args, key_mask, segments, b, first_key + int(lane), end);
    if (!any_in_range(key.x >= 0, key.y, range)) continue;  // the same for all simdgroups
    if (simd == 0u) {
      key_at[lane] = key_offset(args.k, b, hkv, key.x);
      value_at[lane] = key_offset(args.v, b, hkv, key.x);
    }
    tile_dots(q, row_at, k, key_at, width, has_rows, place, row_tile, key_tile, dots);
    has_rows = width <= kChunk;
    for (uint r = 0; r < kTileRows; ++r) {
      const float score =
          sees(items[simd * kTileRows + r], key) ? dots[r] * args.scale : -INFINITY;
      const float next = max(most[r], simd_max(score));
      // A row that has seen no key yet: −∞ − 0 gives a weight of 0 where −∞ − (−∞) would give NaN.
      const float shift = next == -INFINITY ? 0.0f : next;
      const float factor = exp(most[r] - shift);
      const float weight = exp(score - shift);
      most[r] = next;
      total[r] = fma(total[r], factor, simd_sum(weight));
      weights[(simd * kTileRows + r) * kTileLanes + lane] = weight;
      for (uint i = 0; i < kColumns; ++i) sums[r][i] *= factor;
    }
    add_weighted(weights, v, value_at, first_column, width, place, key_tile, sums);
  }
  for (uint r = 0; r < kTileRows; ++r) {
    const int row = first_row + int(simd * kTileRows + r);
    if (row >= args.rows) break;
    const ulong to = ulong(row_offset(args, args.out, b, hkv, row));
    store_slice(out, to, first_column, width, lane, total[r] == 0.0f ? 0.0f : 1.0f / total[r],
                sums[r]);
    if ((kGiven & kGivenLse) != 0 && lane == 0u && group.y == 0u) {
      lse[head_token(args, b, hkv, row)] =
          total[r] == 0.0f ? -INFINITY : most[r] + log(total[r]);
    }
  }
}
