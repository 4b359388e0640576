#pragma once

#include <algorithm>
#include <array>

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/rows.cuh"
#include "runtime/args/norm_args.hpp"

// rms_norm and layer_norm (kCentered) forward: they differ by a mean that is subtracted.

namespace wick::cuda {

/// x [R,D] rows `stride` apart, out [R,D] dense; mean and inv [R] or null.
template <class T>
struct NormForward {
  const T* x;
  std::int64_t stride;
  Shared<T> weight;
  Shared<T> bias;
  T* out;
  float* mean;
  float* inv;
  std::int64_t R;
  std::int64_t D;
  float eps;
  const T* addend = nullptr;  ///< [R,D] dense or null: x + addend is normed, and written to sum
  T* sum = nullptr;
};

/// values[at..at+N) = out for normed values.
template <bool kCentered, int N, class T, int kSize>
__device__ __forceinline__ void scale_normed(const NormForward<T>& a, int column,
                                             float (&values)[kSize], int at) {
  float weight[N];
  float bias[N] = {};
  a.weight.template load<N>(column, weight);
  if (kCentered && a.bias.given()) a.bias.template load<N>(column, bias);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    values[at + i] = kCentered ? fmaf(values[at + i], weight[i], bias[i])  //
                               : values[at + i] * weight[i];
  }
}

/// v = the sum of v and the row of the addend, rounded as it is kept.
template <int kValues, int kVec, class T>
__device__ __forceinline__ void add_addend(const NormForward<T>& a,
                                           const Place<kValues, kVec>& place, float (&v)[kValues]) {
  float addend[kValues];
  load_row(a.addend + place.row * a.D, place, 0.0F, addend);
#pragma unroll
  for (int i = 0; i < kValues; ++i) v[i] = to_float(from_float<T>(v[i] + addend[i]));
  store_row(a.sum + place.row * a.D, place, v);
}

/// Brings the weight nearer for the few rows of decoding; where there are many the first of them does.
template <class T>
__device__ __forceinline__ void prefetch_weight(const NormForward<T>& a) {
  constexpr unsigned kFewBlocks = 32;
  constexpr int kLine = 128;
  if (gridDim.x > kFewBlocks) return;
  const auto bring = [&](const auto* weight) {
    const std::int64_t first = threadIdx.x * (kLine / static_cast<int>(sizeof(*weight)));
    if (first < a.D) hopper::prefetch(weight + first);
  };
  if (a.weight.single != nullptr) {
    bring(a.weight.single);
  } else if (a.weight.own != nullptr) {
    bring(a.weight.own);
  }
}

/// One row in registers.
template <bool kCentered, int kValues, int kVec, class T>
__global__ void __launch_bounds__(kRowThreads<T>) norm_rows(NormForward<T> a) {
  __shared__ ReduceRoom<1> for_mean;
  __shared__ ReduceRoom<1> for_squares;
  hopper::let_next_begin();
  prefetch_weight(a);
  hopper::wait_for_previous();
  const Place<kValues, kVec> place(row_of_grid(), a.R, static_cast<int>(a.D));
  float v[kValues];
  load_row(a.x + place.row * a.stride, place, 0.0F, v);
  if (!kCentered && a.addend != nullptr) add_addend(a, place, v);
  // Few values: the launch is short, and the weight's way from memory would be waited for after the row's.
  constexpr bool kEarly = !kCentered && kValues <= kFewValues;
  float weight[kEarly ? kValues : 1];
  if constexpr (kEarly) {
#pragma unroll
    for (int i = 0; i < kValues / kVec; ++i) {
      if (place.has(i)) a.weight.template load<kVec>(place.column(i), weight, i * kVec);
    }
  }
  const float D = static_cast<float>(a.D);
  float mean = 0;
  if constexpr (kCentered) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) mean += v[i];
    mean = row_reduce<RowSum>(mean, for_mean) / D;
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    if constexpr (kCentered) v[i] = place.has(i / kVec) ? v[i] - mean : 0.0F;
    squares = fmaf(v[i], v[i], squares);
  }
  const float inv = 1.0F / sqrtf(row_reduce<RowSum>(squares, for_squares) / D + a.eps);
#pragma unroll
  for (int i = 0; i < kValues / kVec; ++i) {
    if (!place.has(i)) continue;
#pragma unroll
    for (int j = i * kVec; j < (i + 1) * kVec; ++j) v[j] *= inv;
    if constexpr (kEarly) {
#pragma unroll
      for (int j = i * kVec; j < (i + 1) * kVec; ++j) v[j] *= weight[j];
    } else {
      scale_normed<kCentered, kVec>(a, place.column(i), v, i * kVec);
    }
    store_values<kVec>(a.out + place.row * a.D + place.column(i), v, i * kVec);
  }
  if (threadIdx.x != 0 || place.columns == 0) return;
  if (a.inv != nullptr) a.inv[place.row] = inv;
  if (kCentered && a.mean != nullptr) a.mean[place.row] = mean;
}

/// A row that is too long for registers is read twice, with its mean three times. It has no addend.
template <bool kCentered, int kVec, class T>
__global__ void __launch_bounds__(kLongRowThreads) norm_long_rows(NormForward<T> a) {
  __shared__ ReduceRoom<1> for_mean;
  __shared__ ReduceRoom<1> for_squares;
  const std::int64_t row = blockIdx.x;
  const T* const x = a.x + row * a.stride;
  const float D = static_cast<float>(a.D);
  float mean = 0;
  if constexpr (kCentered) {
    for_each_pack<kVec>(x, a.D, [&](std::int64_t, const Raw<kVec, T>& pack) {
#pragma unroll
      for (int i = 0; i < kVec; ++i) mean += pack.get(i);
    });
    mean = row_reduce<RowSum>(mean, for_mean) / D;
  }
  float squares = 0;
  for_each_pack<kVec>(x, a.D, [&](std::int64_t, const Raw<kVec, T>& pack) {
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      const float difference = pack.get(i) - mean;
      squares = fmaf(difference, difference, squares);
    }
  });
  const float inv = 1.0F / sqrtf(row_reduce<RowSum>(squares, for_squares) / D + a.eps);
  for_each_pack<kVec>(x, a.D, [&](std::int64_t column, const Raw<kVec, T>& pack) {
    float v[kVec];
#pragma unroll
    for (int i = 0; i < kVec; ++i) v[i] = (pack.get(i) - mean) * inv;
    scale_normed<kCentered, kVec>(a, static_cast<int>(column), v, 0);
    store_values<kVec>(a.out + row * a.D + column, v);
  });
  if (threadIdx.x != 0) return;
  if (a.inv != nullptr) a.inv[row] = inv;
  if (kCentered && a.mean != nullptr) a.mean[row] = mean;
}

template <class T>
std::array<MemoryRange, 4> written_by(const NormForward<T>& a) {
  const auto rows = static_cast<std::size_t>(a.R);
  const std::size_t bytes = rows * static_cast<std::size_t>(a.D) * sizeof(T);
  const std::size_t floats = rows * sizeof(float);
  return {{{a.out, bytes},
           {a.sum, a.sum == nullptr ? 0 : bytes},
           {a.mean, a.mean == nullptr ? 0 : floats},
           {a.inv, a.inv == nullptr ? 0 : floats}}};
}

/// Refuses an addend of rows that are too long.
template <bool kCentered, class T>
KernelStatus launch_norm(Stream& stream, const NormForward<T>& a) {
  if (a.R == 0 || a.D == 0) return KernelStatus::ok();
  constexpr int kMost = 32;
  const bool wide = a.D % kPackSize<T> == 0 && rows_aligned(a.x, sizeof(T), a.stride, a.R) &&
                    rows_aligned(a.out, sizeof(T), a.D, a.R) && a.weight.aligned() &&
                    a.bias.aligned() && is_aligned(a.addend, 16) && is_aligned(a.sum, 16);
  const RowPlan plan = plan_rows(stream, a.R, a.D, wide, kMost, kRowThreads<T>);
  if (plan.values == 0 && a.addend != nullptr) return KernelStatus::unsupported("long rows");
  switch_plan<T, kMost>(plan, [&]<int kValues, int kVec>(Int<kValues>, Int<kVec>) {
    if constexpr (kValues == 0) {
      launch_on(stream, norm_long_rows<kCentered, kVec, T>, plan.grid, plan.block, 0, a);
    } else {
      launch_overlapping(stream, norm_rows<kCentered, kValues, kVec, T>, plan.grid, plan.block, 0,
                         {.written = written_by(a)}, a);
    }
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
