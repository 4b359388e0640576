#pragma once

#include "backends/cuda/kernels/attention_tensor.cuh"

// Masks of kernels whose blocks own rows and walk over tiles of keys.

namespace wick::cuda {

/// What a thread needs of one row for masks: nothing is seen at first.
struct RowMask {
  int begin = 0;
  int end = 0;
  int segment = 0;
};

__device__ inline RowMask mask_of_row(const AttentionProblem& p, int b, int r) {
  const int position = p.first_position + r / p.group;
  if (r >= p.rows || (p.segments != nullptr && position < 0)) return {};
  const Interval seen = p.keys_of_query(position);
  return {seen.begin, seen.end, p.segment(b, position)};
}

/// The segments of a block's rows.
template <int kM>
__device__ SegmentRange segments_of_block(const RowMask (&rows)[kM][2]) {
  __shared__ int least[kTensorWarps];
  __shared__ int most[kTensorWarps];
  SegmentRange range;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (const RowMask& row : rows[m]) {
      if (row.begin >= row.end) continue;
      range.least = min(range.least, row.segment);
      range.most = max(range.most, row.segment);
    }
  }
  least[threadIdx.x / kWarp] = __reduce_min_sync(kAllLanes, range.least);
  most[threadIdx.x / kWarp] = __reduce_max_sync(kAllLanes, range.most);
  __syncthreads();
  for (int w = 0; w < kTensorWarps; ++w) {
    range.least = min(range.least, least[w]);
    range.most = max(range.most, most[w]);
  }
  return range;
}

/// The tiles of keys that a block visits, one after another; masks of the current and the next one.
template <int kKeys>
struct KeyTiles {
  const AttentionProblem& p;
  int b;
  int end;
  bool masked_items;  // key_mask or segments are given
  KeyItems* items;    // [2]
  SegmentRange seen;  // of the rows
  int current = 0;    // which of the two
  bool whole = true;  // every row sees every key of the current tile, as far as the items say
  bool next_whole = true;

  /// The first tile from `first` on that some row may see; its items lie in the other of the two.
  __device__ __forceinline__ int find(int first) {
    if (!masked_items) return first;
    KeyItems& other = items[1 - current];
    for (; first < end; first += kKeys) {
      if (!fill_keys<kKeys>(p, b, first, end, seen, other)) continue;
      bool here = true;
      const int i = static_cast<int>(threadIdx.x);
      if (i < kKeys) {
        const bool same =
            p.segments == nullptr || (seen.least == seen.most && other.segment[i] == seen.least);
        here = other.place[i] >= 0 && same;
      }
      next_whole = __syncthreads_and(here) != 0;
      break;
    }
    return first;
  }
  __device__ __forceinline__ void advance() {
    current = 1 - current;
    whole = next_whole;
  }
};

}  // namespace wick::cuda
