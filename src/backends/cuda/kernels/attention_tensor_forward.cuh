#pragma once

#include "backends/cuda/kernels/attention_scalar_forward.cuh"
#include "backends/cuda/kernels/attention_tensor_masks.cuh"

namespace wick::cuda {

/// How a forward block is cut. kRowWarps of its four warps own different rows, 16 kM each; the others see
/// different keys of each tile, for calls with few rows.
template <int kDimension, int kRowsWarps, int kRowTiles, int kKeyTile>
struct TensorShape {
  static constexpr int kDim = kDimension;
  static constexpr int kRowWarps = kRowsWarps;
  static constexpr int kM = kRowTiles;
  static constexpr int kKeys = kKeyTile;
  static constexpr int kKeyWarps = kTensorWarps / kRowWarps;
  static constexpr int kKeysEach = kKeys / kKeyWarps;
  static constexpr int kN = kKeysEach / 8;
  static constexpr int kRows = 16 * kM * kRowWarps;
  static constexpr std::size_t kSharedBytes =
      static_cast<std::size_t>(kRows + 2 * kKeys) * kDim * 2;
};

/// The online softmax of a warp's rows in base 2.
template <int kM>
struct TensorSoftmax {
  float most[kM][2];
  float total[kM][2] = {};  // of this lane's columns

  __device__ TensorSoftmax() {
#pragma unroll
    for (int m = 0; m < kM; ++m) most[m][0] = most[m][1] = -INFINITY;
  }

  /// Scores in base 2 become weights; sums so far are rescaled.
  template <int kN, int kD>
  __device__ __forceinline__ void add(float (&scores)[kM][kN][4], float (&sums)[kM][kD][4]) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float next = most[m][h];
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          next = fmaxf(next, fmaxf(scores[m][n][2 * h], scores[m][n][2 * h + 1]));
        }
        next = quad_reduce<Max>(next);
        // A row that has seen no key yet: −∞ − 0 gives a weight of 0 where −∞ − (−∞) would give NaN.
        const float shift = next == -INFINITY ? 0.0F : next;
        const float factor = exp2f(most[m][h] - shift);
        most[m][h] = next;
        float sum = 0;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
          for (int i = 2 * h; i < 2 * h + 2; ++i) {
            scores[m][n][i] = exp2f(scores[m][n][i] - shift);
            sum += scores[m][n][i];
          }
        }
        total[m][h] = total[m][h] * factor + sum;
        if (__all_sync(kAllLanes, factor == 1.0F)) continue;
#pragma unroll
        for (int d = 0; d < kD; ++d) {
          sums[m][d][2 * h] *= factor;
          sums[m][d][2 * h + 1] *= factor;
        }
      }
    }
  }
};

/// Scores become base-2 ones, −∞ where hidden.
template <int kKeys, int kM, int kN>
__device__ __forceinline__ void mask_scores(const RowMask (&rows)[kM][2],
                                            const KeyTiles<kKeys>& keys, int first, int first_here,
                                            bool whole, float factor, float (&scores)[kM][kN][4]) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int j = first_here + 8 * n + static_cast<int>(threadIdx.x) % 4 * 2 + e;
      int place = first + j;
      int segment = 0;
      if (!whole && keys.masked_items) {
        place = keys.items[keys.current].place[j];
        segment = keys.items[keys.current].segment[j];
      }
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float& score = scores[m][n][2 * h + e];
          const RowMask& row = rows[m][h];
          const bool seen =
              whole || (place >= row.begin && place < row.end && segment == row.segment);
          score = seen ? score * factor : -INFINITY;
        }
      }
    }
  }
}

/// Values that are not finite must not reach rows that give them no weight, and 0 · NaN is not 0: in a tile
/// that is masked in part, a key with such a value is taken out of the tile and added by itself.
template <class T, int kKeys, int kDim>
__device__ bool take_out_odd_values(const SharedTile<kDim>& values, unsigned (&odd)[2]) {
  constexpr int kChunks = kDim / kChunk;
  const int chunk = threadIdx.x % kChunks;
  bool found = false;
#pragma unroll
  for (int i = 0; i < kKeys; i += kTensorThreads / kChunks) {
    const int row = i + static_cast<int>(threadIdx.x) / kChunks;
    unsigned words[4];
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(values.at(row, chunk)));
    constexpr unsigned kExponent = std::is_same_v<T, half> ? 0x7C00U : 0x7F80U;
    bool here = false;
#pragma unroll
    for (const unsigned word : words) {
      here |= (word & kExponent) == kExponent || (word >> 16 & kExponent) == kExponent;
    }
    if (here) atomicOr(&odd[row / 32], 1U << row % 32);
    found |= here;
  }
  if (__syncthreads_or(found) == 0) return false;
#pragma unroll
  for (int i = 0; i < kKeys; i += kTensorThreads / kChunks) {
    const int row = i + static_cast<int>(threadIdx.x) / kChunks;
    if ((odd[row / 32] >> row % 32 & 1U) == 0) continue;
    asm volatile("st.shared.v4.u32 [%0], {%1,%1,%1,%1};" ::"r"(values.at(row, chunk)), "r"(0));
  }
  __syncthreads();
  return true;
}

/// Adds weight · value of one key, j of this warp's keys, where the weight is not 0.
template <class T, int kM, int kN, int kD>
__device__ __forceinline__ void add_odd_value(const float (&weights)[kM][kN][4], int j,
                                              const T* value, int Dh, float (&sums)[kM][kD][4]) {
  const int lane = threadIdx.x % kWarp;
  const int owner = lane / 4 * 4 + j % 8 / 2;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      unsigned bits = 0;  // of the weight: chosen by masks, as a register has no number that varies
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        bits |= __float_as_uint(weights[m][n][2 * h]) & (0U - unsigned{j == 8 * n + j % 8 / 2 * 2});
        bits |= __float_as_uint(weights[m][n][2 * h + 1]) &
                (0U - unsigned{j == 8 * n + j % 8 / 2 * 2 + 1});
      }
      const float weight = __shfl_sync(kAllLanes, __uint_as_float(bits), owner);
      if (weight == 0) continue;
#pragma unroll
      for (int d = 0; d < kD; ++d) {
        const int column = 8 * d + lane % 4 * 2;
        if (column >= Dh) break;
        sums[m][d][2 * h] = fmaf(weight, to_float(value[column]), sums[m][d][2 * h]);
        sums[m][d][2 * h + 1] = fmaf(weight, to_float(value[column + 1]), sums[m][d][2 * h + 1]);
      }
    }
  }
}

}  // namespace wick::cuda
