#pragma once

#include "backends/cuda/kernels/attention_problem.cuh"

// Tiles of 64 by 64 in f32 without tensor cores: any dtype, head size and alignment.

namespace wick::cuda {

inline constexpr int kScalarThreads = 256;  // 16 by 16, each with 4 by 4 elements of a tile
inline constexpr int kSide = 16;
inline constexpr int kEach = 4;
inline constexpr int kDims = 32;  // of a head that one step of a product of rows and keys takes
inline constexpr int kPitch = kAttentionTile + 4;  // of a tile in shared memory: rows stay aligned

/// What a thread holds of a tile.
struct Square {
  float at[kEach][kEach] = {};
};

/// Memory for the operands of one step of a product.
struct ScalarTiles {
  float
      first[kAttentionTile * kPitch];  // two of [kDims, kPitch], or one of [kAttentionTile, kPitch]
  float weights[kAttentionTile * kPitch];
};

/// to[d, i] = item i's element d0 + d, zero where it has none.
template <class Source>
__device__ void load_columns(const Source& source, int d0, int Dh, float* to) {
  const int lane = threadIdx.x % kWarp;
  const int d = d0 + lane;
#pragma unroll
  for (int i = threadIdx.x / kWarp; i < kAttentionTile; i += kScalarThreads / kWarp) {
    const auto* const row = source.at(i);
    to[lane * kPitch + i] = row != nullptr && d < Dh ? to_float(row[d]) : 0.0F;
  }
}

/// to[i, c] = item i's element c0 + c, zero where it has none. True when some of this thread's is not finite.
template <class Source>
__device__ bool load_rows(const Source& source, int c0, int Dh, float* to) {
  const int c = threadIdx.x % kAttentionTile;
  float zero_or_nan = 0;
#pragma unroll 8
  for (int i = threadIdx.x / kAttentionTile; i < kAttentionTile;
       i += kScalarThreads / kAttentionTile) {
    const auto* const row = source.at(i);
    const float value = row != nullptr && c0 + c < Dh ? to_float(row[c0 + c]) : 0.0F;
    zero_or_nan += value - value;  // ∞ − ∞ is NaN
    to[i * kPitch + c] = value;
  }
  return zero_or_nan != 0;
}

/// sum[m, n] += Σ left[k, m] · right[k, n]. kHide: a left element of 0 hides what it is multiplied with,
/// also where that is infinite or NaN.
template <int kInner, bool kHide>
__device__ __forceinline__ void multiply(const float* left, const float* right, Square& sum) {
  const int m = threadIdx.x / kSide * kEach;
  const int n = threadIdx.x % kSide * kEach;
#pragma unroll 8
  for (int k = 0; k < kInner; ++k) {
    float a[kEach];
    float b[kEach];
    load_pack<kEach>(left + k * kPitch + m, a);
    load_pack<kEach>(right + k * kPitch + n, b);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        if (!kHide || a[i] != 0) sum.at[i][j] = fmaf(a[i], b[j], sum.at[i][j]);
      }
    }
  }
}

/// sum[i, j] = Σ over the head of rows' i and columns' j elements. All threads call it; the tiles are free
/// before and after.
template <class Left, class Right>
__device__ void multiply_items(const Left& rows, const Right& columns, int Dh, ScalarTiles& tiles,
                               Square& sum) {
  for (int d0 = 0; d0 < Dh; d0 += kDims) {
    load_columns(rows, d0, Dh, tiles.first);
    load_columns(columns, d0, Dh, tiles.first + kDims * kPitch);
    __syncthreads();
    multiply<kDims, false>(tiles.first, tiles.first + kDims * kPitch, sum);
    __syncthreads();
  }
}

/// sums[c][m, n] += Σ over items k of weights[k, m] · item k's element c0 + 64 c + n. All threads call it
/// after writing weights; the tiles are free afterwards.
template <int kColumnTiles, class Source>
__device__ void add_weighted(const Source& items, int c0, int Dh, ScalarTiles& tiles,
                             Square (&sums)[kColumnTiles]) {
#pragma unroll
  for (int c = 0; c < kColumnTiles; ++c) {
    if (c0 + c * kAttentionTile >= Dh) break;
    const bool odd = load_rows(items, c0 + c * kAttentionTile, Dh, tiles.first);
    if (__syncthreads_or(odd) != 0) {
      multiply<kAttentionTile, true>(tiles.weights, tiles.first, sums[c]);
    } else {
      multiply<kAttentionTile, false>(tiles.weights, tiles.first, sums[c]);
    }
    __syncthreads();
  }
}

/// weights[n, m] = this thread's square of [m, n].
__device__ __forceinline__ void store_transposed(const Square& square, float* weights) {
  const int m = threadIdx.x / kSide * kEach;
  const int n = threadIdx.x % kSide * kEach;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    const float column[kEach] = {square.at[0][j], square.at[1][j], square.at[2][j],
                                 square.at[3][j]};
    store_pack<kEach>(weights + (n + j) * kPitch + m, column);
  }
}

/// weights[m, n] = this thread's square of [m, n].
__device__ __forceinline__ void store_square(const Square& square, float* weights) {
  const int m = threadIdx.x / kSide * kEach;
  const int n = threadIdx.x % kSide * kEach;
#pragma unroll
  for (int i = 0; i < kEach; ++i) store_pack<kEach>(weights + (m + i) * kPitch + n, square.at[i]);
}

/// The reduction over the threads that share rows of a tile.
template <class Op>
__device__ __forceinline__ float row_reduce(float value) {
#pragma unroll
  for (int step = kSide / 2; step > 0; step /= 2) {
    value = Op::apply(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

}  // namespace wick::cuda
