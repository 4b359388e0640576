#include "backends/cuda/few_rows.hpp"

#include "backends/cuda/launch.cuh"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kMostRows = 8;
constexpr std::int64_t kMostColumns = std::int64_t{1} << 30;
// Loads of w on their way in a thread: 64 bytes, so that a multiprocessor's threads hide the memory's latency.
constexpr int kUnroll = 4;

template <class X>
__device__ __forceinline__ float small_element(const void* data, DType dtype, std::int64_t i) {
  return dtype == DType::kF32 ? static_cast<const float*>(data)[i]
                              : to_float(static_cast<const X*>(data)[i]);
}

// sums[m] += the terms of one pack of w with those of x's rows.
template <int kVec, int kM, class X, class W>
__device__ __forceinline__ void add_terms(const Pack<W, kVec>& w, const X* x, std::int64_t K,
                                          float (&sums)[kM]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    float values[kVec];
    load_pack<kVec>(x + m * K, values);
#pragma unroll
    for (int i = 0; i < kVec; ++i) sums[m] = fmaf(values[i], to_float(w.values[i]), sums[m]);
  }
}

// One row of w for a warp, or for a whole block where there are few rows.
template <class X, class W, class Out, int kM, bool kWhole>
__global__ void __launch_bounds__(kThreads) few_rows_kernel(FewRows a) {
  constexpr int kVec = kPackSize<W>;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const std::int64_t n = kWhole ? blockIdx.x : std::int64_t{blockIdx.x} * kWarps + warp;
  if (n >= a.N) return;
  const W* const w = static_cast<const W*>(a.w) + n * a.K;
  const X* const x = static_cast<const X*>(a.x);
  constexpr int kTogether = kWhole ? kThreads : kWarp;
  const std::int64_t step = kTogether * kVec;
  std::int64_t k = std::int64_t{kWhole ? static_cast<int>(threadIdx.x) : lane} * kVec;
  float sums[kM] = {};
  for (; k + (kUnroll - 1) * step < a.K; k += kUnroll * step) {
    Pack<W, kVec> packs[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      // SAFETY: rows of w are made of whole packs and begin at multiples of 16 bytes.
      packs[u] = *reinterpret_cast<const Pack<W, kVec>*>(w + k + u * step);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) add_terms<kVec, kM>(packs[u], x + k + u * step, a.K, sums);
  }
  for (; k < a.K; k += step) {
    // SAFETY: as above.
    add_terms<kVec, kM>(*reinterpret_cast<const Pack<W, kVec>*>(w + k), x + k, a.K, sums);
  }
  if (!kWhole || warp == 0) {
    for (int r = lane; r < a.R; r += kWarp) {
      const float b = a.scale * small_element<X>(a.b, a.b_dtype, n * a.R + r);
#pragma unroll
      for (int m = 0; m < kM; ++m) sums[m] = fmaf(a.xa[m * a.R + r], b, sums[m]);
    }
  }
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    const float total = kWhole ? block_reduce<Sum>(sums[m], 0.0F) : warp_reduce<Sum>(sums[m]);
    if (kWhole ? threadIdx.x != 0 : lane != 0) continue;
    const float bias = a.bias == nullptr ? 0.0F : to_float(static_cast<const Out*>(a.bias)[n]);
    static_cast<Out*>(a.out)[m * a.N + n] = from_float<Out>(total + bias);
  }
}

template <class X, class W, class Out, int kM>
void launch_few_rows(Stream& stream, const FewRows& a) {
  const std::int64_t multiprocessors = backend_of_stream(stream).properties().multiProcessorCount;
  if (a.N < multiprocessors * kWarps) {
    launch_on(stream, &few_rows_kernel<X, W, Out, kM, true>, static_cast<unsigned>(a.N), kThreads,
              0, a);
  } else {
    launch_on(stream, &few_rows_kernel<X, W, Out, kM, false>,
              static_cast<unsigned>(ceil_div(a.N, kWarps)), kThreads, 0, a);
  }
}

template <class X, class W, class Out>
void switch_rows(Stream& stream, const FewRows& a) {
  // Four rows at a time keep the kernels few: what remains goes one by one, where w is in the second-level cache.
  FewRows part = a;
  for (std::int64_t m = 0; m < a.M; m += part.M) {
    part.M = a.M - m >= 4 ? 4 : 1;
    part.x = static_cast<const X*>(a.x) + m * a.K;
    part.xa = a.xa == nullptr ? nullptr : a.xa + m * a.R;
    part.out = static_cast<Out*>(a.out) + m * a.N;
    if (part.M == 4) {
      launch_few_rows<X, W, Out, 4>(stream, part);
    } else {
      launch_few_rows<X, W, Out, 1>(stream, part);
    }
  }
}

template <class X>
void switch_dtypes(Stream& stream, const FewRows& a) {
  const bool wide_w = a.w_dtype == DType::kF32;
  const bool wide_out = a.out_dtype == DType::kF32;
  if (wide_w && wide_out) return switch_rows<X, float, float>(stream, a);
  if (wide_out) return switch_rows<X, X, float>(stream, a);
  if (wide_w) return switch_rows<X, float, X>(stream, a);
  switch_rows<X, X, X>(stream, a);
}

}  // namespace

bool takes_few_rows(const FewRows& a) {
  const auto is_one_of_two = [&](DType dtype) {
    return dtype == DType::kF32 || dtype == a.x_dtype;
  };
  const bool whole_packs = a.K % 8 == 0 && is_aligned(a.w, 16) && is_aligned(a.x, 16);
  return a.M > 0 && a.M <= kMostRows && a.N > 0 && a.N <= kMostColumns && a.K > 0 && whole_packs &&
         is_one_of_two(a.w_dtype) && is_one_of_two(a.out_dtype) && is_one_of_two(a.b_dtype);
}

KernelStatus multiply_few_rows(Stream& stream, const FewRows& a) {
  if (!takes_few_rows(a)) return KernelStatus::unsupported("not a few rows of 16-byte packs");
  switch_floating(a.x_dtype, [&]<class X>(std::type_identity<X>) { switch_dtypes<X>(stream, a); });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
