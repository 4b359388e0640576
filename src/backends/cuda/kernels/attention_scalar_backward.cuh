#pragma once

#include "backends/cuda/kernels/attention_delta.cuh"
#include "backends/cuda/kernels/attention_scalar.cuh"

namespace wick::cuda {

inline constexpr int kBackwardColumns =
    128;  // of a head that one block makes: two results in registers

/// Operands of a backward kernel.
template <class T>
struct BackwardOperands {
  HeadRows<const T> q, k, v, dout;
  RowStatistics statistics;
};

/// lse and delta of a tile of rows, in shared memory.
struct TileStatistics {
  float lse[kAttentionTile];
  float delta[kAttentionTile];
};

__device__ inline void fill_statistics(const AttentionProblem& p, const RowStatistics& statistics,
                                       int b, int hkv, int first, int i, TileStatistics& tile) {
  const int r = first + i;
  const std::int64_t at = r < p.rows ? p.head_token(b, hkv, r) : 0;
  tile.lse[i] = r < p.rows ? statistics.lse[at] : INFINITY;
  tile.delta[i] = r < p.rows ? statistics.delta[at] : 0.0F;
}

/// Scores become probabilities, their gradients those of the scores (without the scale). What is hidden may
/// be NaN, and 0 · NaN is not 0.
__device__ __forceinline__ void score_gradients(const AttentionProblem& p, const RowItems& rows,
                                                const KeyItems& keys,
                                                const TileStatistics& statistics, Square& scores,
                                                Square& gradients) {
  const int m = threadIdx.x / kSide * kEach;
  const int n = threadIdx.x % kSide * kEach;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const float lse = statistics.lse[m + i];
    const float delta = statistics.delta[m + i];
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const bool seen = sees(rows, m + i, keys, n + j);
      const float probability = seen ? expf(fmaf(scores.at[i][j], p.scale, -lse)) : 0.0F;
      scores.at[i][j] = probability;
      gradients.at[i][j] = seen ? probability * (gradients.at[i][j] - delta) : 0.0F;
    }
  }
}

/// Writes factor · sums to the rows that `row_at(m)` gives; null ones are left out.
template <class T, int kColumnTiles, class RowAt>
__device__ void store_gradients(const Square (&sums)[kColumnTiles], float factor, int first_column,
                                int Dh, const RowAt& row_at) {
  const int m = threadIdx.x / kSide * kEach;
  const int n = threadIdx.x % kSide * kEach;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    T* const row = row_at(m + i);
    if (row == nullptr) continue;
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        const int column = first_column + c * kAttentionTile + n + j;
        if (column < Dh) row[column] = from_float<T>(sums[c].at[i][j] * factor);
      }
    }
  }
}

/// dq of 64 rows of a key head.
template <class T, int kColumnTiles>
__global__ void __launch_bounds__(kScalarThreads)
    scalar_dq_kernel(const AttentionProblem p, const BackwardOperands<T> x, T* dq) {
  __shared__ RowItems rows;
  __shared__ KeyItems keys;
  __shared__ TileStatistics statistics;
  __shared__ ScalarTiles tiles;
  const int thread = static_cast<int>(threadIdx.x);
  const int row_tiles = (p.rows + kAttentionTile - 1) / kAttentionTile;
  const int head = static_cast<int>(blockIdx.x) / row_tiles;
  const int b = head / p.Hkv;
  const int hkv = head % p.Hkv;
  const int first_row = (row_tiles - 1 - static_cast<int>(blockIdx.x) % row_tiles) * kAttentionTile;
  if (thread < kAttentionTile) {
    fill_row_item(p, b, first_row, thread, rows);
    fill_statistics(p, x.statistics, b, hkv, first_row, thread, statistics);
  }
  __syncthreads();
  const SegmentRange seen = p.segments == nullptr ? SegmentRange{} : segments_of(rows);
  const RowsOfTile<T> q_rows(p, x.q, b, hkv, rows);
  const RowsOfTile<T> dout_rows(p, x.dout, b, hkv, rows);
  const KeysOfTile<T> k_rows(x.k, b, hkv, keys);
  const KeysOfTile<T> v_rows(x.v, b, hkv, keys);
  const int first_column = static_cast<int>(blockIdx.y) * kBackwardColumns;
  Square sums[kColumnTiles];
  const Interval range = p.keys_of_rows(first_row, min(kAttentionTile, p.rows - first_row));
  int first = range.begin / kAttentionTile * kAttentionTile;
  for (; first < range.end; first += kAttentionTile) {
    if (!fill_keys<kAttentionTile>(p, b, first, range.end, seen, keys)) continue;
    Square scores;
    Square gradients;
    multiply_items(q_rows, k_rows, p.Dh, tiles, scores);
    multiply_items(dout_rows, v_rows, p.Dh, tiles, gradients);
    score_gradients(p, rows, keys, statistics, scores, gradients);
    store_transposed(gradients, tiles.weights);
    add_weighted(k_rows, first_column, p.Dh, tiles, sums);
  }
  store_gradients<T>(sums, p.scale, first_column, p.Dh, [&](int i) {
    const int r = first_row + i;
    return r < p.rows ? dq + p.token_head(b, hkv, r) * p.Dh : nullptr;
  });
}

/// dk and dv of 64 keys of a key head: each may be null.
template <class T, int kColumnTiles>
__global__ void __launch_bounds__(kScalarThreads)
    scalar_dkv_kernel(const AttentionProblem p, const BackwardOperands<T> x, T* dk, T* dv) {
  __shared__ RowItems rows;
  __shared__ KeyItems keys;
  __shared__ TileStatistics statistics;
  __shared__ ScalarTiles tiles;
  const int thread = static_cast<int>(threadIdx.x);
  const int key_tiles = (p.S + kAttentionTile - 1) / kAttentionTile;
  const int head = static_cast<int>(blockIdx.x) / key_tiles;
  const int b = head / p.Hkv;
  const int hkv = head % p.Hkv;
  const int first_key = static_cast<int>(blockIdx.x) % key_tiles * kAttentionTile;
  if (thread < kAttentionTile) fill_key_item(p, b, first_key, thread, p.S, keys);
  __syncthreads();
  const SegmentRange seen = p.segments == nullptr ? SegmentRange{} : segments_of(keys);
  const RowsOfTile<T> q_rows(p, x.q, b, hkv, rows);
  const RowsOfTile<T> dout_rows(p, x.dout, b, hkv, rows);
  const KeysOfTile<T> k_rows(x.k, b, hkv, keys);
  const KeysOfTile<T> v_rows(x.v, b, hkv, keys);
  const int first_column = static_cast<int>(blockIdx.y) * kBackwardColumns;
  Square dk_sums[kColumnTiles];
  Square dv_sums[kColumnTiles];
  const Interval range = p.rows_of_keys(first_key, min(kAttentionTile, p.S - first_key));
  int first = range.begin / kAttentionTile * kAttentionTile;
  for (; first < range.end; first += kAttentionTile) {
    bool useful = false;
    if (thread < kAttentionTile) {
      fill_row_item(p, b, first, thread, rows);
      fill_statistics(p, x.statistics, b, hkv, first, thread, statistics);
      useful = rows.begin[thread] < rows.end[thread] &&
               (p.segments == nullptr || seen.contains(rows.segment[thread]));
    }
    if (__syncthreads_or(useful) == 0) continue;
    Square scores;
    Square gradients;
    multiply_items(q_rows, k_rows, p.Dh, tiles, scores);
    if (dk != nullptr) multiply_items(dout_rows, v_rows, p.Dh, tiles, gradients);
    score_gradients(p, rows, keys, statistics, scores, gradients);
    if (dv != nullptr) {
      store_square(scores, tiles.weights);
      add_weighted(dout_rows, first_column, p.Dh, tiles, dv_sums);
    }
    if (dk != nullptr) {
      store_square(gradients, tiles.weights);
      add_weighted(q_rows, first_column, p.Dh, tiles, dk_sums);
    }
  }
  const auto store = [&](T* to, const Square(&sums)[kColumnTiles], float factor) {
    if (to == nullptr) return;
    store_gradients<T>(sums, factor, first_column, p.Dh, [&](int i) {
      const int j = first_key + i;
      const std::int64_t row = (static_cast<std::int64_t>(b) * p.S + j) * p.Hkv + hkv;
      return j < p.S ? to + row * p.Dh : nullptr;
    });
  };
  store(dk, dk_sums, p.scale);
  store(dv, dv_sums, 1.0F);
}

}  // namespace wick::cuda
