// Kernels in the style of Metal programs as they are published, for the tests of softmetal.
#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

struct RowParams {
  uint columns;
  float eps;
};
constant constexpr uint kMaxSimds = 32;

// One threadgroup a row: sums within simdgroups, then over them.
kernel void rms_norm(device const float* x [[buffer(0)]], device const half* weight [[buffer(1)]],
                     device float* y [[buffer(2)]], constant RowParams& p [[buffer(3)]],
                     uint row [[threadgroup_position_in_grid]],
                     uint thread_id [[thread_position_in_threadgroup]],
                     uint threads [[threads_per_threadgroup]],
                     uint lane [[thread_index_in_simdgroup]],
                     uint simd [[simdgroup_index_in_threadgroup]],
                     uint simds [[simdgroups_per_threadgroup]]) {
  threadgroup float partial[kMaxSimds];
  device const float* xr = x + row * p.columns;
  float sum = 0.0f;
  for (uint i = thread_id; i < p.columns; i += threads) sum = fma(xr[i], xr[i], sum);
  sum = simd_sum(sum);
  if (lane == 0) partial[simd] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum = simd_sum(lane < simds ? partial[lane] : 0.0f);
  const float scale = rsqrt(sum / float(p.columns) + p.eps);
  for (uint i = thread_id; i < p.columns; i += threads)
    y[row * p.columns + i] = xr[i] * scale * float(weight[i]);
}

// A tree in memory whose size the host chooses.
inline float reduce_tree(threadgroup float* t, uint id, uint n, bool largest) {
  for (uint half_n = n / 2; half_n > 0; half_n /= 2) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (id < half_n) t[id] = largest ? max(t[id], t[id + half_n]) : t[id] + t[id + half_n];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float all = t[0];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return all;
}
kernel void softmax(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                    constant uint& columns [[buffer(2)]], threadgroup float* t [[threadgroup(0)]],
                    uint2 group [[threadgroup_position_in_grid]],
                    uint2 id [[thread_position_in_threadgroup]],
                    uint2 threads [[threads_per_threadgroup]]) {
  device const float* xr = x + group.x * columns;
  device float* yr = y + group.x * columns;
  float largest = -INFINITY;
  for (uint i = id.x; i < columns; i += threads.x) largest = max(largest, xr[i]);
  t[id.x] = largest;
  largest = reduce_tree(t, id.x, threads.x, true);
  float sum = 0.0f;
  for (uint i = id.x; i < columns; i += threads.x) {
    const float e = exp(xr[i] - largest);
    yr[i] = e;
    sum += e;
  }
  t[id.x] = sum;
  sum = reduce_tree(t, id.x, threads.x, false);
  for (uint i = id.x; i < columns; i += threads.x) yr[i] /= sum;
}

// C[M,N] = A[M,K] B[K,N] by 8x8 matrices: a simdgroup for each block of 16x16.
struct MatmulParams {
  uint M, N, K;
};
kernel void matmul(device const float* A [[buffer(0)]], device const float* B [[buffer(1)]],
                   device float* C [[buffer(2)]], constant MatmulParams& p [[buffer(3)]],
                   uint2 group [[threadgroup_position_in_grid]],
                   uint id [[thread_index_in_threadgroup]],
                   uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup float a_tile[32 * 8], b_tile[8 * 32];
  threadgroup float c_tile[32][32];
  simdgroup_float8x8 sums[2][2];
  for (uint i = 0; i < 2; ++i) {
    for (uint j = 0; j < 2; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  const uint row0 = group.y * 32, column0 = group.x * 32;
  const uint sr = (simd / 2) * 16, sc = (simd % 2) * 16;
  for (uint k0 = 0; k0 < p.K; k0 += 8) {
    for (uint i = id; i < 32 * 8; i += 128) {
      const uint r = row0 + i / 8, k = k0 + i % 8;
      a_tile[i] = r < p.M && k < p.K ? A[r * p.K + k] : 0.0f;
      const uint kb = k0 + i / 32, c = column0 + i % 32;
      b_tile[i] = kb < p.K && c < p.N ? B[kb * p.N + c] : 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_float8x8 a[2], b[2];
    for (uint i = 0; i < 2; ++i) simdgroup_load(a[i], a_tile + (sr + 8 * i) * 8, 8);
    for (uint j = 0; j < 2; ++j) simdgroup_load(b[j], b_tile + sc + 8 * j, 32);
    for (uint i = 0; i < 2; ++i) {
      for (uint j = 0; j < 2; ++j)
        simdgroup_multiply_accumulate(sums[i][j], a[i], b[j], sums[i][j]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint i = 0; i < 2; ++i) {
    for (uint j = 0; j < 2; ++j) simdgroup_store(sums[i][j], &c_tile[sr + 8 * i][sc + 8 * j], 32);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = id; i < 32 * 32; i += 128) {
    const uint r = row0 + i / 32, c = column0 + i % 32;
    if (r < p.M && c < p.N) C[r * p.N + c] = c_tile[i / 32][i % 32];
  }
}

// Vectors made from parts, swizzles, conversions.
kernel void vectors(device const float4* x [[buffer(0)]], device half4* y [[buffer(1)]],
                    device float* dots [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  const float4 v = x[i];
  const float4 w = float4(v.yx, 2.0f, float(i));
  y[i] = half4(w.wzyx);
  dots[i] =
      dot(v, w) + float3(1.0f).z + clamp(v, -1.0f, 1.0f).x + as_type<float>(as_type<uint>(v.w));
}

// A template under two names, and atomics.
template <typename T>
kernel void scale(device T* x [[buffer(0)]], constant float& factor [[buffer(1)]],
                  device atomic_uint* count [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  x[i] = T(float(x[i]) * factor);
  atomic_fetch_add_explicit(count, 1u, memory_order_relaxed);
}
template [[host_name("scale_f32")]] kernel void scale<float>(device float* x [[buffer(0)]],
                                                             constant float& factor [[buffer(1)]],
                                                             device atomic_uint* count
                                                             [[buffer(2)]],
                                                             uint i [[thread_position_in_grid]]);
template [[host_name("scale_bf16")]] kernel void scale<bfloat>(device bfloat* x [[buffer(0)]],
                                                               constant float& factor [[buffer(1)]],
                                                               device atomic_uint* count
                                                               [[buffer(2)]],
                                                               uint i [[thread_position_in_grid]]);

// Function constants: one that has to be set, one that may be left out.
constant bool kNegate [[function_constant(0)]];
constant float kOffset [[function_constant(3)]];
constant uint kUnused [[function_constant(4)]];
inline float with_constants(float v) {
  const float offset = is_function_constant_defined(kOffset) ? kOffset : 100.0f;
  return (kNegate ? -v : v) + offset;
}
kernel void constants_used(device float* x [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  x[i] = with_constants(x[i]);
}
kernel void needs_unused(device uint* x [[buffer(0)]]) { x[0] = kUnused; }

// Where each thread of a grid is that no threadgroup divides.
kernel void places(device uint* in_grid [[buffer(0)]], device uint* extents [[buffer(1)]],
                   uint3 at [[thread_position_in_grid]], uint3 grid [[threads_per_grid]],
                   uint3 extent [[threads_per_threadgroup]],
                   uint3 group [[threadgroup_position_in_grid]],
                   uint index [[thread_index_in_threadgroup]]) {
  const uint flat = (at.z * grid.y + at.y) * grid.x + at.x;
  in_grid[flat] += 1 + flat;
  if (index == 0) extents[group.y * 2 + group.x] = extent.x * 100 + extent.y;
}

// Shuffles, prefix sums and broadcasts within a simdgroup.
kernel void lanes(device const int* x [[buffer(0)]], device int* y [[buffer(1)]],
                  uint i [[thread_position_in_grid]], ushort lane [[thread_index_in_simdgroup]]) {
  const int v = x[i];
  y[i * 6 + 0] = simd_shuffle_xor(v, 1);
  y[i * 6 + 1] = simd_shuffle_down(v, 4);
  y[i * 6 + 2] = simd_prefix_inclusive_sum(v);
  y[i * 6 + 3] = simd_broadcast(v, 7);
  y[i * 6 + 4] = simd_max(v) - simd_min(v);
  y[i * 6 + 5] = simd_any(v == 3) && !simd_all(v == 3) ? int(lane) : -1;
}
