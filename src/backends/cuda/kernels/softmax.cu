#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/exponential.cuh"
#include "backends/cuda/rows.cuh"
#include "runtime/args/softmax_args.hpp"

namespace wick::cuda {

namespace {

// x [R,D] rows `stride` apart, out [R,D] dense.
template <class T>
struct Forward {
  const T* x;
  std::int64_t stride;
  T* out;
  std::int64_t R;
  std::int64_t D;
};

// All [R,D] dense.
template <class T>
struct Backward {
  const T* dy;
  const T* y;
  T* dx;
  std::int64_t R;
  std::int64_t D;
};

// ---- One row in registers -----------------------------------------------------------------------

template <bool kLog, int kValues, int kVec, class T>
__global__ void __launch_bounds__(kRowThreads<T>) softmax_rows(Forward<T> a) {
  __shared__ ReduceRoom<1> for_max;
  __shared__ ReduceRoom<1> for_sum;
  const Place<kValues, kVec> place(row_of_grid(), a.R, static_cast<int>(a.D));
  float v[kValues];
  load_row(a.x + place.row * a.stride, place, -INFINITY, v);
  float max = v[0];
#pragma unroll
  for (int i = 1; i < kValues; ++i) max = RowMax::apply(max, v[i]);
  max = row_reduce<RowMax>(max, for_max);
  const float base = exponent_base(max);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    v[i] -= base;
    const float share = exponential<T>(v[i]);
    if constexpr (!kLog) v[i] = share;
    sum += share;
  }
  sum = row_reduce<RowSum>(sum, for_sum);
  // A row that is −∞ throughout has the sum 0: its elements stay 0 or −∞.
  const float log_sum = sum == 0 ? 0.0F : logf(sum);
  const float inverse = sum == 0 ? 0.0F : 1.0F / sum;
#pragma unroll
  for (int i = 0; i < kValues; ++i) v[i] = kLog ? v[i] - log_sum : v[i] * inverse;
  store_row(a.out + place.row * a.D, place, v);
}

template <bool kLog, int kValues, int kVec, class T>
__global__ void __launch_bounds__(kRowThreads<T>) softmax_backward_rows(Backward<T> a) {
  __shared__ ReduceRoom<1> for_max;
  __shared__ ReduceRoom<1> for_sum;
  const Place<kValues, kVec> place(row_of_grid(), a.R, static_cast<int>(a.D));
  const std::int64_t begin = place.row * a.D;
  float dy[kValues];
  float y[kValues];
  load_row(a.y + begin, place, kLog ? -INFINITY : 0.0F, y);
  load_row(a.dy + begin, place, 0.0F, dy);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kValues; ++i) sum = kLog ? sum + dy[i] : fmaf(dy[i], y[i], sum);
  sum = row_reduce<RowSum>(sum, for_sum);
  if constexpr (kLog) {
    float max = y[0];
#pragma unroll
    for (int i = 1; i < kValues; ++i) max = RowMax::apply(max, y[i]);
    const bool dead = row_reduce<RowMax>(max, for_max) == -INFINITY;
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      dy[i] = dead ? 0.0F : fmaf(-exponential<T>(y[i]), sum, dy[i]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i) dy[i] = y[i] * (dy[i] - sum);
  }
  store_row(a.dx + begin, place, dy);
}

// ---- Long rows ----------------------------------------------------------------------------------

template <bool kLog, int kVec, class T>
__global__ void __launch_bounds__(kLongRowThreads) softmax_long_rows(Forward<T> a) {
  __shared__ ReduceRoom<1> for_max;
  __shared__ ReduceRoom<1> for_sum;
  const std::int64_t row = blockIdx.x;
  const T* const x = a.x + row * a.stride;
  T* const out = a.out + row * a.D;
  ExponentialSum<T> total;
  for_each_pack<kVec>(x, a.D, [&](std::int64_t, const Raw<kVec, T>& pack) { total.add(pack); });
  total.reduce(for_max, for_sum);
  const float base = exponent_base(total.max);
  const float log_sum = total.sum == 0 ? 0.0F : logf(total.sum);
  const float inverse = total.sum == 0 ? 0.0F : 1.0F / total.sum;
  for_each_pack<kVec>(x, a.D, [&](std::int64_t column, const Raw<kVec, T>& pack) {
    float v[kVec];
    unpack(pack, v);
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      v[i] -= base;
      v[i] = kLog ? v[i] - log_sum : exponential<T>(v[i]) * inverse;
    }
    store_values<kVec>(out + column, v);
  });
}

template <bool kLog, int kVec, class T>
__global__ void __launch_bounds__(kLongRowThreads) softmax_backward_long_rows(Backward<T> a) {
  __shared__ ReduceRoom<1> for_max;
  __shared__ ReduceRoom<1> for_sum;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * a.D;
  float sum = 0;
  float max = -INFINITY;
  const auto take = [&](std::int64_t, const Raw<kVec, T>& dy, const Raw<kVec, T>& y) {
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      if constexpr (kLog) max = RowMax::apply(max, y.get(i));
      const float factor = kLog ? 1.0F : y.get(i);
      sum = fmaf(dy.get(i), factor, sum);
    }
  };
  for_each_pack<kVec>(a.dy + begin, a.y + begin, a.D, take);
  sum = row_reduce<RowSum>(sum, for_sum);
  const bool dead = kLog && row_reduce<RowMax>(max, for_max) == -INFINITY;
  const auto put = [&](std::int64_t column, const Raw<kVec, T>& dy, const Raw<kVec, T>& y) {
    float v[kVec];
#pragma unroll
    for (int i = 0; i < kVec; ++i) {
      const float slope = dy.get(i);
      const float result = y.get(i);
      if constexpr (kLog) {
        v[i] = dead ? 0.0F : fmaf(-exponential<T>(result), sum, slope);
      } else {
        v[i] = result * (slope - sum);
      }
    }
    store_values<kVec>(a.dx + begin + column, v);
  };
  for_each_pack<kVec>(a.dy + begin, a.y + begin, a.D, put);
}

// ---- Launches -----------------------------------------------------------------------------------

template <bool kLog>
KernelStatus forward(Stream& stream, const SoftmaxArgs& args) {
  const std::int64_t R = args.x.dim(0);
  const std::int64_t D = args.x.dim(1);
  if (R == 0 || D == 0) return KernelStatus::ok();
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    constexpr int kMost = 32;
    const Forward<T> a{data_of<const T>(args.x), args.x.stride(0), data_of<T>(args.out), R, D};
    const bool wide = D % kPackSize<T> == 0 && rows_aligned(a.x, sizeof(T), a.stride, R) &&
                      rows_aligned(a.out, sizeof(T), D, R);
    const RowPlan plan = plan_rows(stream, R, D, wide, kMost, kRowThreads<T>);
    switch_plan<T, kMost>(plan, [&]<int kValues, int kVec>(Int<kValues>, Int<kVec>) {
      if constexpr (kValues == 0) {
        launch_on(stream, softmax_long_rows<kLog, kVec, T>, plan.grid, plan.block, 0, a);
      } else {
        launch_on(stream, softmax_rows<kLog, kValues, kVec, T>, plan.grid, plan.block, 0, a);
      }
    });
  });
  return KernelStatus::ok();
}

template <bool kLog>
KernelStatus backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  const std::int64_t R = args.y.dim(0);
  const std::int64_t D = args.y.dim(1);
  if (R == 0 || D == 0) return KernelStatus::ok();
  switch_floating(args.y.dtype, [&]<class T>(std::type_identity<T>) {
    constexpr int kMost = 16;  // of each operand
    const Backward<T> a{data_of<const T>(args.dy), data_of<const T>(args.y), data_of<T>(args.dx), R,
                        D};
    const bool wide = D % kPackSize<T> == 0 && is_aligned(a.dy, 16) && is_aligned(a.y, 16) &&
                      is_aligned(a.dx, 16);
    const RowPlan plan = plan_rows(stream, R, D, wide, kMost, kRowThreads<T>);
    switch_plan<T, kMost>(plan, [&]<int kValues, int kVec>(Int<kValues>, Int<kVec>) {
      if constexpr (kValues == 0) {
        launch_on(stream, softmax_backward_long_rows<kLog, kVec, T>, plan.grid, plan.block, 0, a);
      } else {
        launch_on(stream, softmax_backward_rows<kLog, kValues, kVec, T>, plan.grid, plan.block, 0,
                  a);
      }
    });
  });
  return KernelStatus::ok();
}

}  // namespace

KernelStatus softmax(Stream& stream, const SoftmaxArgs& args) {
  return forward<false>(stream, args);
}

KernelStatus log_softmax(Stream& stream, const SoftmaxArgs& args) {
  return forward<true>(stream, args);
}

KernelStatus softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  return backward<false>(stream, args);
}

KernelStatus log_softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  return backward<true>(stream, args);
}

}  // namespace wick::cuda
