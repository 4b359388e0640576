#include "backends/mps/kernels/attention_tiles.metal"

// With P = exp(scale · q kᵀ − lse) and delta = rowsum(dout · out): dv = Pᵀ dout, dS = P (dout vᵀ − delta), dq = scale · dS k,
// dk = scale · dSᵀ q. One kernel owns rows and makes dq, another owns keys and makes dk and dv: 7 products where a single
// pass needs 5, but each sum has one owner and a fixed order.

// delta [B,H,T]; a simdgroup owns a row of dout and out, which are dense.
kernel void attention_delta(device const uchar* dout [[buffer(0)]],
                            device const uchar* out [[buffer(1)]],
                            device float* delta [[buffer(2)]],
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

// The probability, 0 where the key is not seen.
inline float probability(int4 row, int2 key, float dot_product, float scale, float lse) {
  if (!sees(row, key) || lse == -INFINITY) return 0.0f;
  return exp(dot_product * scale - lse);
}

inline AttentionInputs backward_inputs(device const uchar* dout, device const uchar* q,
                                       device const uchar* k, device const uchar* v,
                                       device const uchar* key_mask, device const int* segments,
                                       device const float* lse, device const float* delta) {
  AttentionInputs inputs;
  inputs.q = q;
  inputs.k = k;
  inputs.v = v;
  inputs.dout = dout;
  inputs.key_mask = key_mask;
  inputs.segments = segments;
  inputs.lse = lse;
  inputs.delta = delta;
  return inputs;
}

// A threadgroup owns 4 · kTileRows rows and a slice of the columns of dq; its grid is as that of `attention`.
kernel void attention_dq(
    device const uchar* dout [[buffer(0)]], device const uchar* q [[buffer(1)]],
    device const uchar* k [[buffer(2)]], device const uchar* v [[buffer(3)]],
    device const uchar* key_mask [[buffer(4)]], device const int* segments [[buffer(5)]],
    device const float* lse [[buffer(6)]], device const float* delta [[buffer(7)]],
    device uchar* dq [[buffer(8)]], constant AttentionKargs& args [[buffer(9)]],
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup TileMemory memory;
  const TilePlace place = tile_place(args, group, thread_index, simd, lane);
  const AttentionInputs inputs = backward_inputs(dout, q, k, v, key_mask, segments, lse, delta);
  const uint width = uint(args.Dh);
  const TileBounds bounds = own_rows(memory, inputs, args, place, true);
  float scores[kMostTileRows];
  float slopes[kMostTileRows];
  float sums[kMostTileRows][kColumns];
  clear_sums(sums);
  for (int first = bounds.begin / 32 * 32; first < bounds.end; first += 32) {
    int2 key;
    if (!lane_keys(memory, inputs, args, place, bounds, first, key)) continue;
    tile_dots(memory, 0, q, k, width, false, place, scores);
    tile_dots(memory, 1, dout, v, width, false, place, slopes);
    for (uint r = 0; r < kTileRows; ++r) {
      const uint item = simd * kTileRows + r;
      const float2 numbers = memory.numbers[item];
      const float p = probability(memory.items[item], key, scores[r], args.scale, numbers.x);
      memory.weights[item * kTileLanes + lane] = p == 0.0f ? 0.0f : p * (slopes[r] - numbers.y);
    }
    add_weighted(memory, memory.weights, 0, k, width, place, sums);
  }
  for (uint r = 0; r < kTileRows; ++r) {
    const int row = place.first + int(simd * kTileRows + r);
    if (row >= args.rows) break;
    // dq is dense, as out is.
    const ulong to = ulong(row_offset(args, args.out, place.b, place.hkv, row));
    store_slice(dq, to, width, place, args.scale, sums[r]);
  }
}

// Probabilities of a tile and their gradients, from both of its products: weights for sums over the rows.
inline void tile_weights(threadgroup TileMemory& memory, threadgroup float* slope_weights,
                         constant AttentionKargs& args, TilePlace place, int4 row, float2 numbers,
                         thread float (&scores)[kMostTileRows],
                         thread float (&slopes)[kMostTileRows]) {
  for (uint r = 0; r < kTileRows; ++r) {
    const uint item = place.simd * kTileRows + r;
    const uint at = item * kTileLanes + place.lane;
    const float p = probability(row, memory.items[item].xy, scores[r], args.scale, numbers.x);
    memory.weights[at] = p;
    slope_weights[at] = p == 0.0f ? 0.0f : p * (slopes[r] - numbers.y);
  }
}

inline void store_keys(device uchar* dk, device uchar* dv, constant AttentionKargs& args,
                       TilePlace place, thread float (&key_sums)[kMostTileRows][kColumns],
                       thread float (&value_sums)[kMostTileRows][kColumns]) {
  const uint width = uint(args.Dh);
  for (uint r = 0; r < kTileRows; ++r) {
    const int key = place.first + int(place.simd * kTileRows + r);
    if (key >= args.S) return;
    // Both are dense [B,S,Hkv,Dh].
    const ulong token = ulong(place.b) * ulong(args.S) + ulong(key);
    const ulong to = (token * ulong(args.Hkv) + place.hkv) * ulong(width);
    if ((kGiven & kGivenDk) != 0) store_slice(dk, to, width, place, args.scale, key_sums[r]);
    if ((kGiven & kGivenDv) != 0) store_slice(dv, to, width, place, 1.0f, value_sums[r]);
  }
}

// A threadgroup owns 4 · kTileRows keys and a slice of the columns of dk and dv; its grid is [tiles of keys, slices, B · Hkv].
kernel void attention_dkv(
    device const uchar* dout [[buffer(0)]], device const uchar* q [[buffer(1)]],
    device const uchar* k [[buffer(2)]], device const uchar* v [[buffer(3)]],
    device const uchar* key_mask [[buffer(4)]], device const int* segments [[buffer(5)]],
    device const float* lse [[buffer(6)]], device const float* delta [[buffer(7)]],
    device uchar* dk [[buffer(8)]], device uchar* dv [[buffer(9)]],
    constant AttentionKargs& args [[buffer(10)]], uint3 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]], uint simd [[simdgroup_index_in_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  threadgroup TileMemory memory;
  threadgroup float slope_weights[kTileLanes * kTileLanes];
  const TilePlace place = tile_place(args, group, thread_index, simd, lane);
  const AttentionInputs inputs = backward_inputs(dout, q, k, v, key_mask, segments, lse, delta);
  const uint width = uint(args.Dh);
  const TileBounds bounds = own_keys(memory, inputs, args, place);
  float scores[kMostTileRows];
  float slopes[kMostTileRows];
  float key_sums[kMostTileRows][kColumns];
  float value_sums[kMostTileRows][kColumns];
  clear_sums(key_sums);
  clear_sums(value_sums);
  for (int first = bounds.begin / 32 * 32; first < bounds.end; first += 32) {
    int4 row;
    float2 numbers;
    if (!lane_rows(memory, inputs, args, place, bounds, first, row, numbers)) continue;
    tile_dots(memory, 0, k, q, width, false, place, scores);
    tile_dots(memory, 1, v, dout, width, false, place, slopes);
    tile_weights(memory, slope_weights, args, place, row, numbers, scores, slopes);
    if ((kGiven & kGivenDv) != 0) {
      add_weighted(memory, memory.weights, 1, dout, width, place, value_sums);
    }
    if ((kGiven & kGivenDk) != 0) {
      add_weighted(memory, slope_weights, 0, q, width, place, key_sums);
    }
  }
  store_keys(dk, dv, args, place, key_sums, value_sums);
}
