#include "backends/cuda/narrow_products.hpp"

#include "backends/cuda/launch.cuh"

namespace wick::cuda {

namespace {

constexpr int kNarrow = 16;
constexpr std::int64_t kMostRows = 1024;
constexpr std::int64_t kMostSize = std::int64_t{1} << 20;
constexpr int kMostWarps = 8;

__device__ __forceinline__ float4 four_at(const float* data) {
  // SAFETY: every row and column begins at a multiple of 16 bytes and is read in whole fours.
  return *reinterpret_cast<const float4*>(data);
}

__device__ __forceinline__ float add_dot(float sum, const float4& a, const float4& b) {
  sum = fmaf(a.x, b.x, sum);
  sum = fmaf(a.y, b.y, sum);
  sum = fmaf(a.z, b.z, sum);
  return fmaf(a.w, b.w, sum);
}

// ---- N at most kN: a block for each row ---------------------------------------------------------

template <int kN>
__global__ void narrow_kernel(const __grid_constant__ Product p) {
  __shared__ float room[kMostWarps][kN];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const float* const a = static_cast<const float*>(p.a.data) + blockIdx.x * p.a.row_stride;
  const float* const b = static_cast<const float*>(p.b.data);
  const int K = static_cast<int>(p.K);
  float sums[kN] = {};
#pragma unroll 2
  for (int k = 4 * static_cast<int>(threadIdx.x); k < K; k += 4 * static_cast<int>(blockDim.x)) {
    const float4 left = four_at(a + k);
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      if (n < p.N) sums[n] = add_dot(sums[n], left, four_at(b + n * p.b.column_stride + k));
    }
  }
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const float sum = warp_reduce<Sum>(sums[n]);
    if (lane == 0) room[warp][n] = sum;
  }
  __syncthreads();
  const int n = static_cast<int>(threadIdx.x);
  if (n >= p.N) return;
  float total = 0;
  for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; ++i) total += room[i][n];
  static_cast<float*>(p.c)[blockIdx.x * p.c_row_stride + n] = p.alpha * total;
}

void run_narrow(Stream& stream, const Product& p) {
  const std::int64_t warps = std::clamp<std::int64_t>(ceil_div(p.K, 4 * kWarp), 1, kMostWarps);
  const auto kernel = p.N <= 8 ? &narrow_kernel<8> : &narrow_kernel<kNarrow>;
  launch_on(stream, kernel, static_cast<unsigned>(p.M), static_cast<unsigned>(warps * kWarp), 0, p);
}

// ---- K at most kNarrow: a thread makes some rows of a column ------------------------------------

constexpr int kShallowThreads = 128;
constexpr int kShallowRows = 4;

template <int kFours>
__global__ void __launch_bounds__(kShallowThreads)
    shallow_kernel(const __grid_constant__ Product p) {
  const std::int64_t n = std::int64_t{blockIdx.x} * kShallowThreads + threadIdx.x;
  const std::int64_t first = std::int64_t{blockIdx.y} * kShallowRows;
  if (n >= p.N) return;
  const float* const a = static_cast<const float*>(p.a.data) + first * p.a.row_stride;
  const float* const b = static_cast<const float*>(p.b.data) + n * p.b.column_stride;
  float* const c = static_cast<float*>(p.c) + first * p.c_row_stride + n;
  float4 right[kFours];
#pragma unroll
  for (int i = 0; i < kFours; ++i) right[i] = four_at(b + 4 * i);
#pragma unroll
  for (int m = 0; m < kShallowRows; ++m) {
    if (first + m >= p.M) break;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      sum = add_dot(sum, four_at(a + m * p.a.row_stride + 4 * i), right[i]);
    }
    c[m * p.c_row_stride] = p.alpha * sum;
  }
}

void run_shallow(Stream& stream, const Product& p) {
  const dim3 grid(static_cast<unsigned>(ceil_div(p.N, kShallowThreads)),
                  static_cast<unsigned>(ceil_div(p.M, kShallowRows)));
  const auto kernel = p.K == 4    ? &shallow_kernel<1>
                      : p.K == 8  ? &shallow_kernel<2>
                      : p.K == 12 ? &shallow_kernel<3>
                                  : &shallow_kernel<4>;
  launch_on(stream, kernel, grid, kShallowThreads, 0, p);
}

bool begins_in_fours(const Matrix& m, std::int64_t step) {
  return is_aligned(m.data, 16) && step % 4 == 0;
}

// Why a product is not for these kernels; empty when it is.
std::string refusal(const Product& p) {
  if (p.a.dtype != DType::kF32 || p.b.dtype != DType::kF32 || p.c_dtype != DType::kF32) {
    return "not f32";
  }
  if (p.G != 1 || p.beta != 0 || p.bias != nullptr) return "batches, or something to add to";
  if (p.M > kMostRows || p.N > kMostSize || p.K > kMostSize) return "too large";
  if (p.N > kNarrow && p.K > kNarrow) return "neither N nor K is at most 16";
  if (p.K % 4 != 0 || p.a.column_stride != 1 || p.b.row_stride != 1 ||
      !begins_in_fours(p.a, p.a.row_stride) || !begins_in_fours(p.b, p.b.column_stride)) {
    return "rows of a or columns of b that are not made of 16 bytes";
  }
  return {};
}

}  // namespace

KernelStatus multiply_narrow(Stream& stream, const Product& p) {
  if (const std::string reason = refusal(p); !reason.empty()) {
    return KernelStatus::unsupported(reason);
  }
  p.K <= kNarrow ? run_shallow(stream, p) : run_narrow(stream, p);
  return KernelStatus::ok();
}

}  // namespace wick::cuda
