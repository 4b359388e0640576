#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "base/check.hpp"
#include "wick/layout/dtype.hpp"

// Element types, vectors of them and reductions, as kernels use them. Arithmetic is in f32.

namespace wick::cuda {

using half = __half;
using bfloat16 = __nv_bfloat16;

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

template <class T>
__device__ __forceinline__ float to_float(T value) {
  return static_cast<float>(value);
}
template <>
__device__ __forceinline__ float to_float(half value) {
  return __half2float(value);
}
template <>
__device__ __forceinline__ float to_float(bfloat16 value) {
  return __bfloat162float(value);
}

template <class T>
__device__ __forceinline__ T from_float(float value) {
  return static_cast<T>(value);
}
template <>
__device__ __forceinline__ half from_float(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ bfloat16 from_float(float value) {
  return __float2bfloat16_rn(value);
}

/// N elements that move together; 16 bytes make the widest access.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

template <class T>
inline constexpr int kPackSize = 16 / static_cast<int>(sizeof(T));

/// N consecutive elements as floats; `x` must be aligned to N elements.
template <int N, class T>
__device__ __forceinline__ void load_pack(const T* x, float (&values)[N]) {
  // SAFETY: callers pass addresses aligned to the pack: checked by is_aligned() on the host.
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(x);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = to_float(pack.values[i]);
}

template <int N>
struct Floats {
  float values[N];
};

/// As above, as a value.
template <int N, class T>
__device__ __forceinline__ Floats<N> load_floats(const T* x) {
  Floats<N> loaded;
  load_pack<N>(x, loaded.values);
  return loaded;
}

template <int N, class T>
__device__ __forceinline__ void store_pack(T* x, const float (&values)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.values[i] = from_float<T>(values[i]);
  // SAFETY: as above.
  *reinterpret_cast<Pack<T, N>*>(x) = pack;
}

// ---- Reductions ---------------------------------------------------------------------------------

struct Sum {
  template <class T>
  static __device__ __forceinline__ T apply(T a, T b) {
    return a + b;
  }
};
struct Max {
  static __device__ __forceinline__ float apply(float a, float b) { return fmaxf(a, b); }
};

/// The reduction over a warp, in every lane.
template <class Op, class T>
__device__ __forceinline__ T warp_reduce(T value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = Op::apply(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

/// The reduction over the threads of a block (a multiple of a warp), in every thread. All threads call it.
/// `neutral` is the op's identity.
template <class Op, class T>
__device__ __forceinline__ T block_reduce(T value, std::type_identity_t<T> neutral) {
  __shared__ T partial[kWarp];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  value = warp_reduce<Op>(value);
  __syncthreads();  // the last use of `partial` is over
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = lane < static_cast<int>(blockDim.x) / kWarp ? partial[lane] : neutral;
  return warp_reduce<Op>(value);
}

}  // namespace wick::cuda
