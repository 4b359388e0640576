#pragma once

#include "backends/cuda/kernels/attention_problem.cuh"
#include "backends/cuda/tensor_cores.cuh"

// Attention's tiles on the tensor cores.

namespace wick::cuda {

inline constexpr int kTensorThreads = 128;
inline constexpr int kTensorWarps = kTensorThreads / kWarp;
inline constexpr float kLog2E = 1.4426950408889634F;
inline constexpr float kLn2 = 0.6931471805599453F;

/// Enqueues the copy of kRows rows, `row_at(i)` each; null rows and what lies behind Dh become zeros.
/// `any` is an address that may be named (it is not read) where there is nothing to copy.
template <int kDim, int kRows, class T, class RowAt>
__device__ __forceinline__ void copy_rows(const SharedTile<kDim>& to, int Dh, const T* any,
                                          const RowAt& row_at) {
  constexpr int kChunks = kDim / kChunk;
  constexpr int kStep = kTensorThreads / kChunks;
  const int chunk = threadIdx.x % kChunks;
#pragma unroll
  for (int i = 0; i < kRows; i += kStep) {
    const int row = i + static_cast<int>(threadIdx.x) / kChunks;
    const T* const from = row_at(row);
    const bool exists = from != nullptr && chunk * kChunk < Dh;
    copy_async(to.at(row, chunk), exists ? from + chunk * kChunk : any, exists);
  }
}

// ---- Products -----------------------------------------------------------------------------------
// A warp's sums [16 kM, 8 kN] are sum[m][n][4]: elements 0 and 1 are of row lane / 4 of the m-th 16 rows, 2
// and 3 of the row 8 below; columns 8 n + 2 (lane % 4) and the next.

/// sum[i, j] += Σ over the head of row first_a + i of a and row first_b + j of b.
template <class T, int kDim, int kM, int kN>
__device__ __forceinline__ void add_row_products(const SharedTile<kDim>& a, int first_a,
                                                 const SharedTile<kDim>& b, int first_b,
                                                 float (&sum)[kM][kN][4]) {
  const int lane = threadIdx.x % kWarp;
  const int a_row = first_a + lane % 16;
  const int b_row = first_b + lane % 8 + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kDim / 16; ++step) {
    unsigned left[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) load_matrices(left[m], a.at(a_row + 16 * m, 2 * step + lane / 16));
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      unsigned right[4];
      load_matrices(right, b.at(b_row + 8 * n, 2 * step + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma<T>(sum[m][n], left[m], right[0], right[1]);
        mma<T>(sum[m][n + 1], left[m], right[2], right[3]);
      }
    }
  }
}

/// sum[i, d] += Σ over j of weights[i, j] (rounded to T) · row first + j's element d.
template <class T, int kDim, int kM, int kN>
__device__ __forceinline__ void add_weighted_rows(const float (&weights)[kM][kN][4],
                                                  const SharedTile<kDim>& rows, int first,
                                                  float (&sum)[kM][kDim / 8][4]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int step = 0; step < kN / 2; ++step) {
    unsigned left[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&part)[4] = weights[m][2 * step + i / 2];
        left[m][i] = pack_two<T>(part[i % 2 * 2], part[i % 2 * 2 + 1]);
      }
    }
    const int row = first + 16 * step + lane % 16;
#pragma unroll
    for (int d = 0; d < kDim / 8; d += 2) {
      unsigned right[4];
      load_transposed_matrices(right, rows.at(row, d + lane / 16));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma<T>(sum[m][d], left[m], right[0], right[1]);
        mma<T>(sum[m][d + 1], left[m], right[2], right[3]);
      }
    }
  }
}

/// The reduction over the four lanes that share rows of a warp's sums.
template <class Op>
__device__ __forceinline__ float quad_reduce(float value) {
  value = Op::apply(value, __shfl_xor_sync(kAllLanes, value, 1));
  return Op::apply(value, __shfl_xor_sync(kAllLanes, value, 2));
}

// ---- What runs here -----------------------------------------------------------------------------

/// Whether a [B,N,heads,Dh] view can be copied in chunks of 16 bytes.
inline bool copies_in_chunks(const TensorView& x) {
  if (!is_aligned(x.data, 16) || x.dim(3) % kChunk != 0) return false;
  for (int axis = 0; axis < 3; ++axis) {
    if (x.dim(axis) > 1 && x.stride(axis) % kChunk != 0) return false;
  }
  return true;
}

}  // namespace wick::cuda
