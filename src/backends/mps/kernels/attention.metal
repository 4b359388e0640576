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

inline void store_rows(device uchar* out, device float* lse, constant AttentionKargs& args,
                       TilePlace place, thread RunningSoftmax& softmax,
                       thread float (&sums)[kMostTileRows][kColumns]) {
  for (uint r = 0; r < kTileRows; ++r) {
    const int row = place.first + int(place.simd * kTileRows + r);
    if (row >= args.rows) return;
    const float total = softmax.total[r];
    const ulong to = ulong(row_offset(args, args.out, place.b, place.hkv, row));
    store_slice(out, to, uint(args.Dh), place, total == 0.0f ? 0.0f : 1.0f / total, sums[r]);
    if ((kGiven & kGivenLse) != 0 && place.lane == 0u && place.first_column == 0u) {
      lse[head_token(args, place.b, place.hkv, row)] =
          total == 0.0f ? -INFINITY : softmax.most[r] + log(total);
    }
  }
}

// out = softmax(scale · q kᵀ + mask) v. A threadgroup owns 4 · kTileRows rows of a key head and a slice of the columns; its
// grid is [tiles of rows, slices, B · Hkv]. Memory beyond the outputs does not depend on T · S.
kernel void attention(device const uchar* q [[buffer(0)]], device const uchar* k [[buffer(1)]],
                      device const uchar* v [[buffer(2)]],
                      device const uchar* key_mask [[buffer(3)]],
                      device const int* segments [[buffer(4)]], device uchar* out [[buffer(5)]],
                      device float* lse [[buffer(6)]], constant AttentionKargs& args [[buffer(7)]],
                      uint3 group [[threadgroup_position_in_grid]],
                      uint thread_index [[thread_index_in_threadgroup]],
                      uint simd [[simdgroup_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  threadgroup TileMemory memory;
  const TilePlace place = tile_place(args, group, thread_index, simd, lane);
  AttentionInputs inputs;
  inputs.q = q;
  inputs.k = k;
  inputs.v = v;
  inputs.key_mask = key_mask;
  inputs.segments = segments;
  const uint width = uint(args.Dh);
  const TileBounds bounds = own_rows(memory, inputs, args, place, false);
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
  store_rows(out, lse, args, place, softmax, sums);
}
