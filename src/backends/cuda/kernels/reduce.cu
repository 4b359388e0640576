#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/strided.cuh"
#include "runtime/args/reduce_args.hpp"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 32;  // of a block that sums columns
constexpr int kLanes = 16;    // threads that share a column

// Floats add up in f64, as on the CPU: even where that is slow, memory is slower. Integers in i64.
template <class T>
using Total = std::conditional_t<std::is_integral_v<T>, std::int64_t, double>;

template <class T>
__device__ Total<T> term(T value) {
  if constexpr (std::is_integral_v<T>) return value;
  return to_float(value);
}

template <class Out, class T>
__device__ Out result(T total, double factor) {
  if constexpr (std::is_integral_v<Out>) {
    // Whole factors only reach integers; f64 would lose digits of large sums.
    return factor == 1 ? total : static_cast<Out>(static_cast<double>(total) * factor);
  } else if constexpr (std::is_same_v<Out, double>) {
    return total * factor;
  } else {
    return from_float<Out>(static_cast<float>(total * factor));
  }
}

template <class T>
__device__ T block_sum(T value) {
  __shared__ T partial[kThreads];
  partial[threadIdx.x] = value;
  __syncthreads();
  for (int half_size = kThreads / 2; half_size > 0; half_size /= 2) {
    if (threadIdx.x < half_size) partial[threadIdx.x] += partial[threadIdx.x + half_size];
    __syncthreads();
  }
  return partial[0];
}

// A block sums one part of one output: part p of `parts` takes the terms p, p + parts · kThreads, ...
template <class T, class Out>
__global__ void sum_kernel(Loops<1> kept, Loops<1> reduced, double factor, const T* x, Out* out) {
  const std::int64_t output = blockIdx.x;
  std::int64_t base[1];
  kept.offsets(output, base);
  Total<T> total = 0;
  const std::int64_t step = std::int64_t{gridDim.y} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.y} * kThreads + threadIdx.x; i < reduced.numel;
       i += step) {
    std::int64_t at[1];
    reduced.offsets(i, at);
    total += term(x[base[0] + at[0]]);
  }
  total = block_sum(total);
  if (threadIdx.x == 0) out[output * gridDim.y + blockIdx.y] = result<Out>(total, factor);
}

// Outputs that are neighbours in memory while their terms are not: a block takes some columns.
template <class T, class Out>
__global__ void sum_columns_kernel(Loops<1> kept, Loops<1> reduced, double factor, const T* x,
                                   Out* out) {
  __shared__ Total<T> partial[kLanes][kColumns];
  const std::int64_t output = std::int64_t{blockIdx.x} * kColumns + threadIdx.x;
  Total<T> total = 0;
  if (output < kept.numel) {
    std::int64_t base[1];
    kept.offsets(output, base);
    const std::int64_t step = std::int64_t{gridDim.y} * kLanes;
    for (std::int64_t i = std::int64_t{blockIdx.y} * kLanes + threadIdx.y; i < reduced.numel;
         i += step) {
      std::int64_t at[1];
      reduced.offsets(i, at);
      total += term(x[base[0] + at[0]]);
    }
  }
  partial[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y != 0 || output >= kept.numel) return;
  for (int lane = 1; lane < kLanes; ++lane) total += partial[lane][threadIdx.x];
  out[output * gridDim.y + blockIdx.y] = result<Out>(total, factor);
}

// out [outputs] from the dense partial sums [outputs, parts], in the order of the parts.
template <class T, class Out>
__global__ void finish_kernel(std::int64_t outputs, int parts, double factor, const T* partial,
                              Out* out) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= outputs) return;
  T total = 0;
  for (int part = 0; part < parts; ++part) total += partial[i * parts + part];
  out[i] = result<Out>(total, factor);
}

struct Plan {
  Loops<1> kept, reduced;
  bool columns = false;
  int parts = 1;
};

// Few outputs of many terms are cut into parts, so that they fill the device.
Plan plan_of(Stream& stream, const ReduceArgs& args) {
  const int num_kept = args.x.rank() - args.num_reduced;
  Plan plan{.kept = loops_over(0, num_kept, args.x),
            .reduced = loops_over(num_kept, args.x.rank(), args.x)};
  const auto is_inner = [](const Loops<1>& loops) {
    return loops.rank > 0 && loops.strides[loops.rank - 1][0] == 1;
  };
  plan.columns = is_inner(plan.kept) && !is_inner(plan.reduced) && plan.kept.numel >= kColumns;
  const std::int64_t blocks = plan.columns ? ceil_div(plan.kept.numel, kColumns) : plan.kept.numel;
  const std::int64_t wanted =
      std::int64_t{4} * backend_of_stream(stream).properties().multiProcessorCount;
  const std::int64_t per_block = plan.columns ? kLanes * 16 : kThreads * 16;
  const std::int64_t useful = ceil_div(plan.reduced.numel, per_block);
  plan.parts = static_cast<int>(std::clamp<std::int64_t>(
      std::min(useful, wanted / std::max<std::int64_t>(blocks, 1)), 1, 1024));
  return plan;
}

template <class T, class Out>
void launch_sums(Stream& stream, const Plan& plan, double factor, const T* x, Out* out) {
  const auto parts = static_cast<unsigned>(plan.parts);
  if (plan.columns) {
    const dim3 grid(static_cast<unsigned>(ceil_div(plan.kept.numel, kColumns)), parts);
    launch_on(stream, &sum_columns_kernel<T, Out>, grid, dim3(kColumns, kLanes), 0, plan.kept,
              plan.reduced, factor, x, out);
  } else {
    const dim3 grid(static_cast<unsigned>(plan.kept.numel), parts);
    launch_on(stream, &sum_kernel<T, Out>, grid, kThreads, 0, plan.kept, plan.reduced, factor, x,
              out);
  }
}

template <class T, class Out>
void sum_into(Stream& stream, const Plan& plan, double factor, const T* x, Out* out) {
  if (plan.parts == 1) {
    launch_sums(stream, plan, factor, x, out);
    return;
  }
  const std::int64_t outputs = plan.kept.numel;
  const Scratch partial(stream, static_cast<std::size_t>(outputs * plan.parts) * sizeof(Total<T>));
  launch_sums(stream, plan, 1.0, x, partial.as<Total<T>>());
  launch_on(stream, &finish_kernel<Total<T>, Out>,
            static_cast<unsigned>(ceil_div(outputs, kThreads)), kThreads, 0, outputs, plan.parts,
            factor, static_cast<const Total<T>*>(partial.as<Total<T>>()), out);
}

}  // namespace

KernelStatus sum(Stream& stream, const ReduceArgs& args) {
  if (args.x.dtype == DType::kU8) return KernelStatus::unsupported("sums of u8 are not defined");
  const Plan plan = plan_of(stream, args);
  if (plan.kept.numel == 0) return KernelStatus::ok();
  switch_dtype(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    using Out = std::conditional_t<std::is_integral_v<T>, std::int64_t, T>;
    sum_into(stream, plan, args.factor, data_of<const T>(args.x), data_of<Out>(args.out));
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
