#include "backends/mps/kernels/attention_tiles.metal"

// The online softmax of a simdgroup's rows: the largest score so far, and Σ exp(score − it).
struct RunningSoftmax {
  float most[kMostTileRows];
  float total[kMostTileRows];
};

// Takes in the scores of 32 keys: writes their weights, and scales what earlier ones have summed up to.
inline void add_scores(threadgroup TileMemory& memory, constant AttentionKargs& args,
                       TilePlace place, int2 key, thread float (&dots)[kMostTileRows],
                       thread RunningSoftmax& softmax,
                       thread float (&sums)[kMostTileRows][kColumns]) {
  for (uint r = 0; r < kTileRows; ++r) {
    const uint item = place.simd * kTileRows + r;
    const float score = sees(memory.items[item], key) ? dots[r] * args.scale : -INFINITY;
    const float next = max(softmax.most[r], simd_max(score));
    // A row that has seen no key yet: −∞ − 0 gives a weight of 0 where −∞ − (−∞) would give NaN.
    const float shift = next == -INFINITY ? 0.0f : next;
    const float factor = exp(softmax.most[r] - shift);
    const float weight = exp(score - shift);
    softmax.most[r] = next;
    softmax.total[r] = fma(softmax.total[r], factor, simd_sum(weight));
    memory.weights[item * kTileLanes + place.lane] = weight;
    for (uint i = 0; i < kColumns; ++i) sums[r][i] *= factor;
  }
}

// Where a kernel writes: out and lse, or the f32 results [splits,B,T,H,Dh] and [splits,B,T,H] of splits.
struct AttentionResults {
  device uchar* out;
  device float* lse;
  device float* split_out;
  device float* split_lse;
};

inline void store_row(AttentionResults results, constant AttentionKargs& args, TilePlace place,
                      int row, float total, float lse, thread float (&sums)[kColumns]) {
  const ulong to = ulong(row_offset(args, args.out, place.b, place.hkv, row));
  const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
  const bool has_lse = place.lane == 0u && place.first_column == 0u;
  if ((kGiven & kGivenSplits) == 0) {
    store_slice(results.out, to, uint(args.Dh), place, inverse, sums);
    if ((kGiven & kGivenLse) != 0 && has_lse) {
      results.lse[head_token(args, place.b, place.hkv, row)] = lse;
    }
    return;
  }
  const ulong at = ulong(place.split) * ulong(args.split_elements) + to;
  for (uint i = 0; i < kColumns; ++i) {
    const uint c = place.first_column + i * 32 + place.lane;
    if (c < uint(args.Dh)) results.split_out[at + c] = sums[i] * inverse;
  }
  if (has_lse) results.split_lse[at / ulong(args.Dh)] = lse;
}

inline void store_rows(AttentionResults results, constant AttentionKargs& args, TilePlace place,
                       thread RunningSoftmax& softmax,
                       thread float (&sums)[kMostTileRows][kColumns]) {
  for (uint r = 0; r < kTileRows; ++r) {
    const int row = place.first + int(place.simd * kTileRows + r);
    if (row >= args.rows) return;
    const float total = softmax.total[r];
    const float lse = total == 0.0f ? -INFINITY : softmax.most[r] + log(total);
    store_row(results, args, place, row, total, lse, sums[r]);
  }
}

// out = softmax(scale · q kᵀ + mask) v. A threadgroup owns 4 · kTileRows rows of a key head and a slice of the columns; its
// grid is [tiles of rows, slices · splits, B · Hkv]. Memory beyond the outputs does not depend on T · S.
kernel void attention(
    device const uchar* q [[buffer(0)]], device const uchar* k [[buffer(1)]],
    device const uchar* v [[buffer(2)]], device const uchar* key_mask [[buffer(3)]],
    device const int* segments [[buffer(4)]], device uchar* out [[buffer(5)]],
    device float* lse [[buffer(6)]], device float* split_out [[buffer(7)]],
    device float* split_lse [[buffer(8)]], constant AttentionKargs& args [[buffer(9)]],
    uint3 group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup TileMemory memory;
  const TilePlace place = tile_place(args, group, thread_index, simd, lane);
  AttentionInputs inputs;
  inputs.q = q;
  inputs.k = k;
  inputs.v = v;
  inputs.key_mask = key_mask;
  inputs.segments = segments;
  const uint width = uint(args.Dh);
  TileBounds bounds = own_rows(memory, inputs, args, place, false);
  if ((kGiven & kGivenSplits) != 0) {
    bounds.begin = max(bounds.begin, int(place.split) * args.split_keys);
    bounds.end = min(bounds.end, (int(place.split) + 1) * args.split_keys);
  }
  RunningSoftmax softmax;
  for (uint r = 0; r < kTileRows; ++r) {
    softmax.most[r] = -INFINITY;
    softmax.total[r] = 0.0f;
  }
  float dots[kMostTileRows];
  float sums[kMostTileRows][kColumns];
  clear_sums(sums);
  bool has_rows = false;  // whether the rows are in their tile to stay
  for (int first = bounds.begin / 32 * 32; first < bounds.end; first += 32) {
    int2 key;
    if (!lane_keys(memory, inputs, args, place, bounds, first, key)) continue;
    tile_dots(memory, 0, q, k, width, has_rows, place, dots);
    has_rows = width <= kChunk;
    add_scores(memory, args, place, key, dots, softmax, sums);
    add_weighted(memory, memory.weights, 1, v, width, place, sums);
  }
  AttentionResults results;
  results.out = out;
  results.lse = lse;
  results.split_out = split_out;
  results.split_lse = split_lse;
  store_rows(results, args, place, softmax, sums);
}

// Makes the result of a row from those of its splits; a simdgroup owns a row, the grid is [B · T · H / 4].
kernel void attention_merge(device const float* split_out [[buffer(0)]],
                            device const float* split_lse [[buffer(1)]],
                            device uchar* out [[buffer(2)]], device float* lse [[buffer(3)]],
                            constant AttentionKargs& args [[buffer(4)]],
                            uint group [[threadgroup_position_in_grid]],
                            uint simd [[simdgroup_index_in_threadgroup]],
                            uint lane [[thread_index_in_simdgroup]]) {
  const ulong row = ulong(group) * kTileSimds + simd;
  const ulong width = ulong(args.Dh);
  const ulong rows = ulong(args.split_elements) / width;
  if (row >= rows) return;
  float most = -INFINITY;
  for (int i = 0; i < args.splits; ++i) most = max(most, split_lse[ulong(i) * rows + row]);
  const float shift = most == -INFINITY ? 0.0f : most;
  float total = 0.0f;
  for (int i = 0; i < args.splits; ++i) total += exp(split_lse[ulong(i) * rows + row] - shift);
  const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
  for (ulong c = lane; c < width; c += 32) {
    float sum = 0.0f;
    for (int i = 0; i < args.splits; ++i) {
      const ulong at = ulong(i) * rows + row;
      const float weight = exp(split_lse[at] - shift);
      if (weight != 0.0f) sum = fma(weight, split_out[at * width + c], sum);
    }
    store_float(out, row * width + c, kDType, sum * inverse);
  }
  if ((kGiven & kGivenLse) == 0 || lane != 0u) return;
  const ulong token = row / ulong(args.H);
  const ulong to = (token / ulong(args.T) * ulong(args.H) + row % ulong(args.H)) * ulong(args.T);
  lse[to + token % ulong(args.T)] = total == 0.0f ? -INFINITY : shift + log(total);
}
