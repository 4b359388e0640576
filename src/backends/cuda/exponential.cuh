#pragma once

#include "backends/cuda/rows.cuh"

namespace wick::cuda {

/// e^x. Results that are rounded to 16 bits take the multiprocessor's own exponential, which is off by some
/// 1e-7 · (1 + |x|) relative to the result, in a third of the instructions.
template <class T>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return expf(x);
  } else {
    constexpr float kLog2E = 1.44269504F;
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * kLog2E));
    return result;
  }
}

/// 1 / x for x from 1 to 1e37; off by 2 units in the last place where results are rounded to 16 bits.
template <class T>
__device__ __forceinline__ float reciprocal(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return 1.0F / x;
  } else {
    return __fdividef(1.0F, x);
  }
}

/// What to subtract in exp(x − max): 0 instead of the maximum of a row that is −∞ throughout, whose
/// exponentials then are 0 instead of NaN.
__device__ __forceinline__ float exponent_base(float max) { return max == -INFINITY ? 0.0F : max; }

/// The maximum of a row and Σ exp(x − max), in one pass: each new maximum rescales the sum so far. NaN shows.
template <class T>
struct ExponentialSum {
  float max = -INFINITY;
  float sum = 0;

  template <int N>
  __device__ __forceinline__ void add(const Raw<N, T>& pack) {
    float values[N];
    unpack(pack, values);
    float larger = max;
#pragma unroll
    for (int i = 0; i < N; ++i) larger = RowMax::apply(larger, values[i]);
    const float base = exponent_base(larger);
    if (larger != max) sum *= exponential<T>(max - base);  // NaN is not equal to itself
    max = larger;
#pragma unroll
    for (int i = 0; i < N; ++i) sum += exponential<T>(values[i] - base);
  }

  /// That of the whole row, in every thread of it.
  __device__ __forceinline__ void reduce(ReduceRoom<1>& for_max, ReduceRoom<1>& for_sum) {
    const float larger = row_reduce<RowMax>(max, for_max);
    sum = row_reduce<RowSum>(sum * exponential<T>(max - exponent_base(larger)), for_sum);
    max = larger;
  }
};

}  // namespace wick::cuda
