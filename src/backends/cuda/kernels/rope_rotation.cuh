#pragma once

#include "backends/cuda/rows.cuh"

// What rotates the heads of queries and keys by their positions.

namespace wick::cuda {

struct Rotation {
  float cosine;
  float sine;
};

/// The angle is rounded to f32: models were trained with such angles, and at position 8000 that rounding moves a
/// cosine by up to 2e-4. It is reduced in double, so that the results are off by f32 rounding alone.
__device__ __forceinline__ Rotation rotation(double position, float frequency) {
  constexpr double kTurnsPerRadian = 0.15915494309189533577;
  const float angle = static_cast<float>(position * static_cast<double>(frequency));
  const double turns = static_cast<double>(angle) * kTurnsPerRadian;
  Rotation result;
  sincospif(static_cast<float>(2.0 * (turns - rint(turns))), &result.sine, &result.cosine);
  return result;
}

/// values = table[0..N), shared memory.
template <int N>
__device__ __forceinline__ void load_table(const float* table, float (&values)[N]) {
  constexpr int kStep = N < 4 ? N : 4;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    float some[kStep];
    load_pack(table + i, some);
#pragma unroll
    for (int j = 0; j < kStep; ++j) values[i + j] = some[j];
  }
}

/// Rotates the packs of pairs (x[i], x[i + P]).
template <int kVec, class T>
__device__ __forceinline__ void rotate(const T* x, int P, const float* cosines, const float* sines,
                                       T* out) {
  const Raw<kVec, T> first = load_raw<kVec>(x);
  const Raw<kVec, T> second = load_raw<kVec>(x + P);
  float cosine[kVec];
  float sine[kVec];
  load_table(cosines, cosine);
  load_table(sines, sine);
  float a[kVec];
  float b[kVec];
#pragma unroll
  for (int i = 0; i < kVec; ++i) {
    a[i] = fmaf(-second.get(i), sine[i], first.get(i) * cosine[i]);
    b[i] = fmaf(first.get(i), sine[i], second.get(i) * cosine[i]);
  }
  store_values<kVec>(out, a);
  store_values<kVec>(out + P, b);
}

/// Whether each head begins where a pack may be read.
template <int kWide>
bool has_packs(const TensorView& x, const TensorView& out) {
  if (!x) return true;
  bool result = is_aligned(x.data, 16) && is_aligned(out.data, 16);
  for (int axis = 0; axis < 3; ++axis) {
    result = result && (x.dim(axis) == 1 || x.stride(axis) % kWide == 0);
  }
  return result;
}

}  // namespace wick::cuda
