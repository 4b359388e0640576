#include "backends/mps/kernels/attention_kargs.hpp"
#include "backends/mps/kernels/common.metal"

using namespace wick::mps;

#include "backends/mps/kernels/attention_tiles.metal"

// With P = exp(scale · q kᵀ − lse) and delta = rowsum(dout · out): dv = Pᵀ dout, dS = P (dout vᵀ − delta), dq = scale · dS k,
// dk = scale · dSᵀ q. One kernel owns rows and makes dq, another owns keys and makes dk and dv: 7 products where a single
// pass needs 5, but each sum has one owner and a fixed order.

// delta [B,H,T]; a simdgroup owns a row of dout and out, which are dense.
kernel void attention_delta(device const uchar* dout [[buffer(0)]],
                            device const uchar* out [[buffer(1)]], device float* delta [[buffer(2)]],
                            constant AttentionKargs& args [[buffer(3)]],
                            uint3 group [[threadgroup_position_in_grid]],
                            uint simd [[simdgroup_index_in_threadgroup]],
                            uint lane [[thread_index_in_simdgroup]]) {
  const uint b = group.z / uint(args.Hkv);
  const uint hkv = group.z % uint(args.Hkv);
  for (uint i = 0; i < kTileRows; ++i) {
    const int r = int((group.x * kTileSimds + simd) * kTileRows + i);
    if (r >= args.rows) return;
    const ulong at = ulong(row_offset(args, args.out, b, hkv, r));
    float sum = 0.0f;
    for (uint c = lane; c < uint(args.Dh); c += 32) {
      sum = fma(load_float(dout, at + c, kDType), load_float(out, at + c, kDType), sum);
    }
    sum = simd_sum(sum);
    if (lane == 0u) delta[head_token(args, b, hkv, r)] = sum;
  }
}

// What a row needs of the forward pass: its lse x and delta y.
inline float2 row_numbers(constant AttentionKargs& args, device const float* lse,
                          device const float* delta, uint b, uint hkv, int r) {
  if (r >= args.rows) return float2(0.0f, 0.0f);
  const ulong at = head_token(args, b, hkv, r);
  return float2(lse[at], delta[at]);
}

// The probability, 0 where the key is not seen.
inline float probability(int4 row, int2 key, float dot_product, float scale, float lse) {
  if (!sees(row, key) || lse == -INFINITY) return 0.0f;
  return exp(dot_product * scale - lse);
}

// A threadgroup owns 4 · kTileRows rows and a slice of the columns of dq; its grid is as that of `attention`.
kernel void attention_dq(device const uchar* dout [[buffer(0)]], device const uchar* q [[buffer(1)]],
                         device const uchar* k [[buffer(2)]], device const uchar* v [[buffer(3)]],
                         device const uchar* key_mask [[buffer(4)]],
                         device const int* segments [[buffer(5)]],
                         device const float* lse [[buffer(6)]],
                         device const float* delta [[buffer(7)]], device uchar* dq [[buffer(8)]],
                         constant AttentionKargs& args [[buffer(9)]],
                         uint3 group [[threadgroup_position_in_grid]],
                         uint thread_index [[thread_index_in_threadgroup]],
                         uint simd [[simdgroup_index_in_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float4 row_tile[kTileLanes * kPitch];
  threadgroup float4 key_tile[kTileLanes * kPitch];
  threadgroup float weights[kTileLanes * kTileLanes];
  threadgroup long q_at[kTileLanes];
  threadgroup long dout_at[kTileLanes];
  threadgroup long key_at[kTileLanes];
  threadgroup long value_at[kTileLanes];
  threadgroup int4 items[kTileLanes];
  threadgroup float2 numbers[kTileLanes];
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
    const int r = first_row + int(thread_index);
    items[thread_index] = row_item(args, segments, b, r);
    q_at[thread_index] = row_offset(args, args.q, b, hkv, r);
    dout_at[thread_index] = row_offset(args, args.out, b, hkv, r);
    numbers[thread_index] = row_numbers(args, lse, delta, b, hkv, r);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int4 item = items[min(int(lane), tile_rows - 1)];
  const int2 range = segment_range(item.x < item.y, item.z);
  const int begin = keys_of_query(args, args.first_position + first_row / args.group).x;
  const int end = keys_of_query(args, args.first_position + last_row / args.group).y;
  float scores[kMostTileRows];
  float slopes[kMostTileRows];
  float sums[kMostTileRows][kColumns];
  for (uint r = 0; r < kTileRows; ++r) {
    for (uint i = 0; i < kColumns; ++i) sums[r][i] = 0.0f;
  }
  for (int first_key = begin / 32 * 32; first_key < end; first_key += 32) {
    const int2 key = key_item(args, key_mask, segments, b, first_key + int(lane), end);
    if (!any_in_range(key.x >= 0, key.y, range)) continue;
    if (simd == 0u) {
      key_at[lane] = key_offset(args.k, b, hkv, key.x);
      value_at[lane] = key_offset(args.v, b, hkv, key.x);
    }
    tile_dots(q, q_at, k, key_at, width, false, place, row_tile, key_tile, scores);
    tile_dots(dout, dout_at, v, value_at, width, false, place, row_tile, key_tile, slopes);
    for (uint r = 0; r < kTileRows; ++r) {
      const uint i = simd * kTileRows + r;
      const float p = probability(items[i], key, scores[r], args.scale, numbers[i].x);
      weights[i * kTileLanes + lane] = p == 0.0f ? 0.0f : p * (slopes[r] - numbers[i].y);
    }
    add_weighted(weights, k, key_at, first_column, width, place, key_tile, sums);
  }
  for (uint r = 0; r < kTileRows; ++r) {
    const int row = first_row + int(simd * kTileRows + r);
    if (row >= args.rows) break;
    // dq is dense, as out is.
    const ulong to = ulong(row_offset(args, args.out, b, hkv, row));
    store_slice(dq, to, first_column, width, lane, args.scale, sums[r]);
  }
}

// A threadgroup owns 4 · kTileRows keys and a slice of the columns of dk and dv; its grid is [tiles of keys, slices, B · Hkv].
kernel void attention_dkv(device const uchar* dout [[buffer(0)]],
                          device const uchar* q [[buffer(1)]], device const uchar* k [[buffer(2)]],
                          device const uchar* v [[buffer(3)]],
                          device const uchar* key_mask [[buffer(4)]],
                          device const int* segments [[buffer(5)]],
                          device const float* lse [[buffer(6)]],
                          device const float* delta [[buffer(7)]], device uchar* dk [[buffer(8)]],
                          device uchar* dv [[buffer(9)]],
                          constant AttentionKargs& args [[buffer(10)]],
                          uint3 group [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]],
                          uint simd [[simdgroup_index_in_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float4 key_tile[kTileLanes * kPitch];
  threadgroup float4 row_tile[kTileLanes * kPitch];
  threadgroup float weights[kTileLanes * kTileLanes];
  threadgroup float slope_weights[kTileLanes * kTileLanes];
  threadgroup long key_at[kTileLanes];
  threadgroup long value_at[kTileLanes];
  threadgroup long q_at[kTileLanes];
  threadgroup long dout_at[kTileLanes];
  threadgroup int2 items[kTileLanes];
  TilePlace place;
  place.thread_index = thread_index;
  place.simd = simd;
  place.lane = lane;
  const uint b = group.z / uint(args.Hkv);
  const uint hkv = group.z % uint(args.Hkv);
  const int tile_keys = int(kTileSimds * kTileRows);
  const int first_key = int(group.x) * tile_keys;
  const int last_key = min(first_key + tile_keys, args.S) - 1;
  const uint first_column = group.y * kTileSlice;
  const uint width = uint(args.Dh);
  if (int(thread_index) < tile_keys) {
    const int2 key =
        key_item(args, key_mask, segments, b, first_key + int(thread_index), args.S);
    items[thread_index] = key;
    key_at[thread_index] = key_offset(args.k, b, hkv, key.x);
    value_at[thread_index] = key_offset(args.v, b, hkv, key.x);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int2 item = items[min(int(lane), tile_keys - 1)];
  const int2 range = segment_range(item.x >= 0, item.y);
  const int begin = times_of_key(args, first_key).x * args.group;
  const int end = times_of_key(args, last_key).y * args.group;
  float scores[kMostTileRows];
  float slopes[kMostTileRows];
  float key_sums[kMostTileRows][kColumns];
  float value_sums[kMostTileRows][kColumns];
  for (uint r = 0; r < kTileRows; ++r) {
    for (uint i = 0; i < kColumns; ++i) {
      key_sums[r][i] = 0.0f;
      value_sums[r][i] = 0.0f;
    }
  }
  for (int first_row = begin / 32 * 32; first_row < end; first_row += 32) {
    const int row = first_row + int(lane);
    const int4 seen = row_item(args, segments, b, row);
    if (!any_in_range(seen.x < seen.y, seen.z, range)) continue;
    if (simd == 0u) {
      q_at[lane] = row_offset(args, args.q, b, hkv, row);
      dout_at[lane] = row_offset(args, args.out, b, hkv, row);
    }
    const float2 numbers = row_numbers(args, lse, delta, b, hkv, row);
    tile_dots(k, key_at, q, q_at, width, false, place, key_tile, row_tile, scores);
    tile_dots(v, value_at, dout, dout_at, width, false, place, key_tile, row_tile, slopes);
    for (uint r = 0; r < kTileRows; ++r) {
      const uint i = simd * kTileRows + r;
      const float p = probability(seen, items[i], scores[r], args.scale, numbers.x);
      weights[i * kTileLanes + lane] = p;
      slope_weights[i * kTileLanes + lane] = p == 0.0f ? 0.0f : p * (slopes[r] - numbers.y);
    }
    if ((kGiven & kGivenDv) != 0) {
      add_weighted(weights, dout, dout_at, first_column, width, place, row_tile, value_sums);
    }
    if ((kGiven & kGivenDk) != 0) {
      add_weighted(slope_weights, q, q_at, first_column, width, place, row_tile, key_sums);
    }
  }
  for (uint r = 0; r < kTileRows; ++r) {
    const int key = first_key + int(simd * kTileRows + r);
    if (key >= args.S) break;
    // Both are dense [B,S,Hkv,Dh].
    const ulong token = ulong(b) * ulong(args.S) + ulong(key);
    const ulong to = (token * ulong(args.Hkv) + hkv) * ulong(width);
    if ((kGiven & kGivenDk) != 0) {
      store_slice(dk, to, first_column, width, lane, args.scale, key_sums[r]);
    }
    if ((kGiven & kGivenDv) != 0) {
      store_slice(dv, to, first_column, width, lane, 1.0f, value_sums[r]);
    }
  }
}
