#pragma once

#include "backends/cuda/activation_math.cuh"
#include "backends/cuda/hopper_lora_tiling.cuh"
#include "backends/cuda/tensor_cores.cuh"

// What hopper_lora_kernel does with its sums.

namespace wick::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Lane t of four gives its v[i] to lane i and has then v[t] of each: sixteen bytes of one row.
__device__ __forceinline__ void exchange_in_quad(unsigned (&v)[4]) {
  const bool odd = threadIdx.x % 2 != 0;
  const bool upper = threadIdx.x % 4 >= 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const unsigned got = __shfl_xor_sync(kAllLanes, odd ? v[i] : v[i + 1], 1);
    v[i] = odd ? got : v[i];
    v[i + 1] = odd ? v[i + 1] : got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const unsigned got = __shfl_xor_sync(kAllLanes, upper ? v[i] : v[i + 2], 2);
    v[i] = upper ? got : v[i];
    v[i + 2] = upper ? v[i + 2] : got;
  }
}

/// Two neighbours of a bias [N] from column c on, 0 without one.
template <class T>
__device__ __forceinline__ void load_bias(const HopperPartCall& call, int c, float (&add)[2]) {
  add[0] = add[1] = 0;
  if (call.bias == nullptr || c >= call.N) return;
  const T* const bias = static_cast<const T*>(call.bias) + c;
  add[0] = to_float(bias[0]);
  add[1] = to_float(bias[1]);
}

/// Eight neighbours of a row of a result [M,N].
template <class T>
__device__ __forceinline__ void store_eight(void* out, int N, int row, int column,
                                            const unsigned (&v)[4]) {
  // SAFETY: rows of out are made of 16 bytes and begin at multiples of them.
  *reinterpret_cast<uint4*>(static_cast<T*>(out) + std::int64_t{row} * N + column) =
      make_uint4(v[0], v[1], v[2], v[3]);
}

/// A thread's sums, rounded, from `column` on, of its rows `row` and the one 8 below.
template <class T, int kCount>
__device__ __forceinline__ void store_sums(const HopperPartCall& call, int M,
                                           const float (&sum)[kCount][4], int row, int column) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < kCount; n += 4) {
    float add[4][2];
#pragma unroll
    for (int j = 0; j < 4; ++j) load_bias<T>(call, column + (n + j) * 8 + 2 * t, add[j]);
#pragma unroll
    for (int half_row = 0; half_row < 2; ++half_row) {
      unsigned v[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        v[j] = pack_two<T>(sum[n + j][2 * half_row] + add[j][0],
                           sum[n + j][2 * half_row + 1] + add[j][1]);
      }
      exchange_in_quad(v);
      const int at = row + 8 * half_row;
      const int c = column + (n + t) * 8;
      if (at < M && c < call.N) store_eight<T>(call.out, call.N, at, c, v);
    }
  }
}

template <class T>
__device__ __forceinline__ float2 unpack_two(unsigned packed) {
  const auto pair = __builtin_bit_cast(Pack<T, 2>, packed);
  return make_float2(to_float(pair.values[0]), to_float(pair.values[1]));
}

// The numbers of the kernels of swiglu (kernels/activation.cu), two at a time.
template <class T>
__device__ __forceinline__ unsigned swiglu_of(unsigned gate, unsigned up) {
  const float2 g = unpack_two<T>(gate);
  const float2 u = unpack_two<T>(up);
  return pack_two<T>(Silu::value<T>(g.x) * u.x, Silu::value<T>(g.y) * u.y);
}
template <class T>
__device__ __forceinline__ void swiglu_gradients(unsigned dh, unsigned gate, unsigned up,
                                                 unsigned& dgate, unsigned& dup) {
  const float2 d = unpack_two<T>(dh);
  const float2 g = unpack_two<T>(gate);
  const float2 u = unpack_two<T>(up);
  dgate = pack_two<T>(d.x * u.x * Silu::derivative<T>(g.x), d.y * u.y * Silu::derivative<T>(g.y));
  dup = pack_two<T>(d.x * Silu::value<T>(g.x), d.y * Silu::value<T>(g.y));
}

/// As store_sums() for gate, the first half of the sums, and for up; and their swiglu.
template <class T, int kCount>
__device__ __forceinline__ void store_swiglu(const HopperCall& call, const float (&sum)[kCount][4],
                                             int row, int column) {
  const HopperPartCall& gate = call.parts[0];
  const HopperPartCall& up = call.parts[1];
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < kCount / 2; n += 4) {
    float add[2][4][2];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      load_bias<T>(gate, column + (n + j) * 8 + 2 * t, add[0][j]);
      load_bias<T>(up, column + (n + j) * 8 + 2 * t, add[1][j]);
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      unsigned g[4];
      unsigned u[4];
      unsigned h[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float(&of_up)[4] = sum[kCount / 2 + n + j];
        g[j] = pack_two<T>(sum[n + j][i] + add[0][j][0], sum[n + j][i + 1] + add[0][j][1]);
        u[j] = pack_two<T>(of_up[i] + add[1][j][0], of_up[i + 1] + add[1][j][1]);
        h[j] = swiglu_of<T>(g[j], u[j]);
      }
      exchange_in_quad(g);
      exchange_in_quad(u);
      exchange_in_quad(h);
      const int at = row + 4 * i;
      const int c = column + (n + t) * 8;
      if (at >= call.M || c >= gate.N) continue;
      store_eight<T>(gate.out, gate.N, at, c, g);
      store_eight<T>(up.out, gate.N, at, c, u);
      store_eight<T>(call.h, gate.N, at, c, h);
    }
  }
}

/// Eight neighbours of a row of a box of 64 columns in shared memory, as the copy engine puts them there.
__device__ __forceinline__ uint4 load_eight_of_box(unsigned box, int row, int eight) {
  return hopper::load_shared_pack(box + row * 128 + ((eight ^ (row % 8)) << 4));
}

/// The gradients of gate and up from sums[kFirst] on, and their swiglu where it is wanted, 64 columns: gate and up are boxes in shared memory. `inside` is the row
/// in those.
template <class T, int kFirst, int kCount>
__device__ __forceinline__ void store_swiglu_gradients(const HopperCall& call,
                                                       const float (&sum)[kCount][4], int row,
                                                       int column, unsigned gate, unsigned up,
                                                       int inside) {
  const int N = call.parts[0].N;
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < 8; n += 4) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      unsigned dh[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        dh[j] = pack_two<T>(sum[kFirst + n + j][i], sum[kFirst + n + j][i + 1]);
      }
      exchange_in_quad(dh);
      const int at = row + 4 * i;
      const int c = column + (n + t) * 8;
      if (at >= call.M || c >= N) continue;
      const uint4 g = load_eight_of_box(gate, inside + 4 * i, n + t);
      const uint4 u = load_eight_of_box(up, inside + 4 * i, n + t);
      unsigned dgate[4];
      unsigned dup[4];
      swiglu_gradients<T>(dh[0], g.x, u.x, dgate[0], dup[0]);
      swiglu_gradients<T>(dh[1], g.y, u.y, dgate[1], dup[1]);
      swiglu_gradients<T>(dh[2], g.z, u.z, dgate[2], dup[2]);
      swiglu_gradients<T>(dh[3], g.w, u.w, dgate[3], dup[3]);
      store_eight<T>(call.dgate, N, at, c, dgate);
      store_eight<T>(call.dup, N, at, c, dup);
      if (call.h == nullptr) continue;
      const unsigned h[4] = {swiglu_of<T>(g.x, u.x), swiglu_of<T>(g.y, u.y), swiglu_of<T>(g.z, u.z),
                             swiglu_of<T>(g.w, u.w)};
      store_eight<T>(call.h, N, at, c, h);
    }
  }
}

#endif

}  // namespace wick::cuda
