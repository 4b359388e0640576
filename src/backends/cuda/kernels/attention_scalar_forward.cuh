#pragma once

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/kernels/attention_scalar.cuh"

namespace wick::cuda {

/// The online softmax of a thread's four rows.
struct RunningSoftmax {
  float most[kEach];
  float total[kEach] = {};

  __device__ RunningSoftmax() {
#pragma unroll
    for (float& value : most) value = -INFINITY;
  }

  /// Scores (−∞ where hidden) become exp(score − most). factor[i] is what earlier sums of row i must be
  /// multiplied with.
  __device__ __forceinline__ void add(Square& scores, float (&factor)[kEach]) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      float(&row)[kEach] = scores.at[i];
      const float here = fmaxf(fmaxf(row[0], row[1]), fmaxf(row[2], row[3]));
      const float next = fmaxf(most[i], row_reduce<Max>(here));
      // A row that has seen no key yet: −∞ − 0 gives a weight of 0 where −∞ − (−∞) would give NaN.
      const float shift = next == -INFINITY ? 0.0F : next;
      factor[i] = expf(most[i] - shift);
      most[i] = next;
      float sum = 0;
#pragma unroll
      for (float& value : row) {
        value = expf(value - shift);
        sum += value;
      }
      total[i] = total[i] * factor[i] + row_reduce<Sum>(sum);
    }
  }
};

/// A block's part of the work: rows of a key head, keys, columns of the head.
struct ForwardTask {
  int b, hkv, first_row, split, first_column;

  /// Late rows have the most keys under a causal mask: they come first, so that blocks end together.
  __device__ ForwardTask(const AttentionProblem& p, const KeySplits& splits, int tile_rows) {
    unsigned task = blockIdx.x;
    split = static_cast<int>(task % splits.count);
    task /= splits.count;
    hkv = static_cast<int>(task % p.Hkv);
    task /= p.Hkv;
    b = static_cast<int>(task % p.B);
    const int row_tiles = (p.rows + tile_rows - 1) / tile_rows;
    first_row = (row_tiles - 1 - static_cast<int>(task / p.B)) * tile_rows;
    first_column = static_cast<int>(blockIdx.y) * 256;
  }

  /// The keys of this split that some row of the tile may look at; begin is a multiple of the tile.
  __device__ Interval keys(const AttentionProblem& p, const KeySplits& splits,
                           int tile_rows) const {
    Interval keys = p.keys_of_rows(first_row, min(tile_rows, p.rows - first_row));
    keys.begin = keys.begin / kAttentionTile * kAttentionTile;
    if (splits.count == 1) return keys;
    const int begin = split * splits.keys;
    return {max(keys.begin, begin), min(keys.end, begin + splits.keys)};
  }
};

template <class T, int kColumnTiles>
__device__ void store_forward(const AttentionProblem& p, const ForwardTask& task,
                              const KeySplits& splits, const RunningSoftmax& softmax,
                              const Square (&sums)[kColumnTiles],
                              const AttentionOutput<T>& result) {
  const std::int64_t tokens = static_cast<std::int64_t>(p.B) * p.T * p.H;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int r = task.first_row + static_cast<int>(threadIdx.x) / kSide * kEach + i;
    if (r >= p.rows) break;
    const float total = softmax.total[i];
    const float inverse = total == 0 ? 0.0F : 1.0F / total;
    const float lse = total == 0 ? -INFINITY : softmax.most[i] + logf(total);
    const std::int64_t row = p.token_head(task.b, task.hkv, r);
    if (threadIdx.x % kSide == 0 && blockIdx.y == 0) {
      if (splits.count > 1) result.partial_lse[task.split * tokens + row] = lse;
      if (splits.count == 1 && result.lse != nullptr) {
        result.lse[p.head_token(task.b, task.hkv, r)] = lse;
      }
    }
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const int column = task.first_column + c * kAttentionTile +
                           static_cast<int>(threadIdx.x) % kSide * kEach + j;
        if (column >= p.Dh) break;
        const float value = sums[c].at[i][j] * inverse;
        if (splits.count > 1) {
          result.partial_out[(task.split * tokens + row) * p.Dh + column] = value;
        } else {
          result.out[row * p.Dh + column] = from_float<T>(value);
        }
      }
    }
  }
}

/// One block: 64 rows of a key head, up to 256 columns of the result.
template <class T, int kColumnTiles>
__global__ void __launch_bounds__(kScalarThreads)
    scalar_forward_kernel(const AttentionProblem p, const HeadRows<const T> q,
                          const HeadRows<const T> k, const HeadRows<const T> v,
                          const AttentionOutput<T> result, const KeySplits splits) {
  __shared__ RowItems rows;
  __shared__ KeyItems keys;
  __shared__ ScalarTiles tiles;
  hopper::overlap();
  const ForwardTask task(p, splits, kAttentionTile);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kAttentionTile) fill_row_item(p, task.b, task.first_row, thread, rows);
  __syncthreads();
  const SegmentRange seen = p.segments == nullptr ? SegmentRange{} : segments_of(rows);
  const RowsOfTile<T> q_rows(p, q, task.b, task.hkv, rows);
  const KeysOfTile<T> k_rows(k, task.b, task.hkv, keys);
  const KeysOfTile<T> v_rows(v, task.b, task.hkv, keys);
  const int m = thread / kSide * kEach;
  const int n = thread % kSide * kEach;
  RunningSoftmax softmax;
  Square sums[kColumnTiles];
  const Interval range = task.keys(p, splits, kAttentionTile);
  for (int first = range.begin; first < range.end; first += kAttentionTile) {
    if (!fill_keys<kAttentionTile>(p, task.b, first, range.end, seen, keys)) continue;
    Square scores;
    multiply_items(q_rows, k_rows, p.Dh, tiles, scores);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        scores.at[i][j] = sees(rows, m + i, keys, n + j) ? scores.at[i][j] * p.scale : -INFINITY;
      }
    }
    float factor[kEach];
    softmax.add(scores, factor);
#pragma unroll
    for (Square& sum : sums) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (float& value : sum.at[i]) value *= factor[i];
      }
    }
    store_transposed(scores, tiles.weights);
    add_weighted(v_rows, task.first_column, p.Dh, tiles, sums);
  }
  store_forward(p, task, splits, softmax, sums, result);
}

}  // namespace wick::cuda
