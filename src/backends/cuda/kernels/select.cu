#include <algorithm>
#include <cub/block/block_radix_sort.cuh>
#include <cub/device/device_radix_sort.cuh>
#include <limits>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/launch.cuh"
#include "runtime/args/reduce_args.hpp"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;

// Values in their order, as unsigned numbers: every NaN is the largest, and −0 is 0. Four bytes where they
// are enough, since sorting takes a pass per byte.
template <class T>
using Rank = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

template <class T>
__device__ Rank<T> rank_of(T value) {
  if constexpr (std::is_integral_v<T>) {
    using Unsigned = Rank<T>;
    constexpr auto kSign = Unsigned{1} << (8 * sizeof(Unsigned) - 1);
    return static_cast<Unsigned>(static_cast<std::make_signed_t<Unsigned>>(value)) ^ kSign;
  } else {
    const float x = to_float(value);
    if (isnan(x)) return std::numeric_limits<std::uint32_t>::max();
    if (x == 0) return 0x80000000U;
    const std::uint32_t bits = __float_as_uint(x);
    return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  }
}

// ---- Argmax -------------------------------------------------------------------------------------

template <class R>
struct Best {
  R rank;
  std::int64_t index;

  __device__ void take(const Best& other) {
    if (other.rank > rank || (other.rank == rank && other.index < index)) *this = other;
  }
};

// What a thread without an element has: any other beats it, or equals it at a lower index.
template <class R>
__device__ Best<R> no_best() {
  return {0, std::numeric_limits<std::int64_t>::max()};
}

// The best of a block, in thread 0.
template <class R>
__device__ Best<R> best_of_block(const Best<R>& own) {
  __shared__ Best<R> shared[kThreads];
  shared[threadIdx.x] = own;
  __syncthreads();
  for (int half_size = kThreads / 2; half_size > 0; half_size /= 2) {
    if (threadIdx.x < half_size) shared[threadIdx.x].take(shared[threadIdx.x + half_size]);
    __syncthreads();
  }
  return shared[0];
}

// Blocks (row, part): each searches every gridDim.y-th stretch of a row.
template <class T>
__global__ void argmax_parts_kernel(std::int64_t D, std::int64_t row_stride,
                                    std::int64_t column_stride, const T* x, Best<Rank<T>>* parts) {
  const T* const row = x + blockIdx.x * row_stride;
  Best<Rank<T>> best = no_best<Rank<T>>();
  const std::int64_t step = std::int64_t{gridDim.y} * kThreads;
#pragma unroll 4
  for (std::int64_t d = std::int64_t{blockIdx.y} * kThreads + threadIdx.x; d < D; d += step) {
    best.take({rank_of(row[d * column_stride]), d});
  }
  best = best_of_block(best);
  if (threadIdx.x == 0) parts[std::int64_t{blockIdx.x} * gridDim.y + blockIdx.y] = best;
}

// A block per row.
template <class T>
__global__ void argmax_merge_kernel(int num_parts, std::int64_t row_stride,
                                    std::int64_t column_stride, const T* x,
                                    const Best<Rank<T>>* parts, std::int64_t* indices, T* values) {
  Best<Rank<T>> best = no_best<Rank<T>>();
  for (int i = threadIdx.x; i < num_parts; i += kThreads) {
    best.take(parts[std::int64_t{blockIdx.x} * num_parts + i]);
  }
  best = best_of_block(best);
  if (threadIdx.x != 0) return;
  indices[blockIdx.x] = best.index;
  if (values != nullptr) {
    values[blockIdx.x] = x[blockIdx.x * row_stride + best.index * column_stride];
  }
}

// As many parts of a row as give every multiprocessor something to do, with some elements for each thread.
std::int64_t argmax_parts(Stream& stream, std::int64_t R, std::int64_t D) {
  constexpr std::int64_t kEach = 8;
  const std::int64_t wanted = backend_of_stream(stream).properties().multiProcessorCount / R;
  return std::clamp<std::int64_t>(ceil_div(D, kEach * kThreads), 1,
                                  std::max<std::int64_t>(wanted, 1));
}

// ---- The K largest ------------------------------------------------------------------------------

// Whole rows are sorted, stably: equals stay in the order of their positions. Short ones by a block each.
constexpr int kItems = 8;
constexpr int kShortRow = kThreads * kItems;

template <class T>
__global__ void top_k_short_kernel(std::int64_t D, std::int64_t K, std::int64_t row_stride,
                                   std::int64_t column_stride, const T* x, T* values,
                                   std::int64_t* indices) {
  using Sort = cub::BlockRadixSort<Rank<T>, kThreads, kItems, std::int32_t>;
  __shared__ typename Sort::TempStorage storage;
  const T* const row = x + blockIdx.x * row_stride;
  Rank<T> ranks[kItems];
  std::int32_t positions[kItems];
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int d = static_cast<int>(threadIdx.x) * kItems + i;
    positions[i] = d;
    // Beyond the row: smaller than all, and behind those that are as small.
    ranks[i] = d < D ? rank_of(row[d * column_stride]) : 0;
  }
  Sort(storage).SortDescending(ranks, positions);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const std::int64_t k = std::int64_t{threadIdx.x} * kItems + i;
    if (k >= K) continue;
    indices[blockIdx.x * K + k] = positions[i];
    values[blockIdx.x * K + k] = row[positions[i] * column_stride];
  }
}

template <class T>
__global__ void rank_kernel(std::int64_t D, std::int64_t column_stride, const T* row,
                            Rank<T>* ranks, std::int32_t* positions) {
  const std::int64_t d = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (d >= D) return;
  ranks[d] = rank_of(row[d * column_stride]);
  positions[d] = static_cast<std::int32_t>(d);
}

template <class T>
__global__ void gather_kernel(std::int64_t K, std::int64_t column_stride, const T* row,
                              const std::int32_t* positions, T* values, std::int64_t* indices) {
  const std::int64_t k = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (k >= K) return;
  indices[k] = positions[k];
  values[k] = row[positions[k] * column_stride];
}

unsigned blocks_for(std::int64_t n) { return static_cast<unsigned>(ceil_div(n, kThreads)); }

// One long row after the other, with the same memory.
template <class T>
void top_k_long(Stream& stream, const TopKArgs& args, const T* x, T* values,
                std::int64_t* indices) {
  const std::int64_t D = args.x.dim(1);
  const std::int64_t K = args.values.dim(1);
  const auto count = static_cast<std::size_t>(D);
  const Scratch ranks(stream, 2 * count * sizeof(Rank<T>));
  const Scratch positions(stream, 2 * count * sizeof(std::int32_t));
  Rank<T>* const keys = ranks.as<Rank<T>>();
  std::int32_t* const places = positions.as<std::int32_t>();
  const auto sort = [&](void* memory, std::size_t& bytes) {
    check(cub::DeviceRadixSort::SortPairsDescending(
              memory, bytes, keys, keys + D, places, places + D, static_cast<int>(D), 0,
              static_cast<int>(8 * sizeof(Rank<T>)), activate(stream)),
          "sort");
  };
  std::size_t bytes = 0;
  sort(nullptr, bytes);
  const Scratch memory(stream, bytes);
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    const T* const row = x + r * args.x.stride(0);
    launch_on(stream, &rank_kernel<T>, blocks_for(D), kThreads, 0, D, args.x.stride(1), row, keys,
              places);
    sort(memory.data(), bytes);
    launch_on(stream, &gather_kernel<T>, blocks_for(K), kThreads, 0, K, args.x.stride(1), row,
              static_cast<const std::int32_t*>(places + D), values + r * K, indices + r * K);
  }
}

// A thread adds up one row, so that the order of sums is that of K.
template <class T>
__global__ void scatter_kernel(std::int64_t R, std::int64_t K, std::int64_t D, const T* dy,
                               const std::int64_t* indices, T* dx) {
  const std::int64_t r = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (r >= R) return;
  for (std::int64_t k = 0; k < K; ++k) {
    T& target = dx[r * D + indices[r * K + k]];
    target = from_float<T>(to_float(target) + to_float(dy[r * K + k]));
  }
}

// The dtypes that have an order here.
template <class F>
KernelStatus switch_ordered(DType dtype, const F& f) {
  if (dtype == DType::kU8 || dtype == DType::kBool) {
    return KernelStatus::unsupported("u8 and bool have no order");
  }
  switch_dtype(dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr (sizeof(T) > 1) f(type);
  });
  return KernelStatus::ok();
}

}  // namespace

KernelStatus argmax(Stream& stream, const ArgmaxArgs& args) {
  const std::int64_t R = args.x.dim(0);
  return switch_ordered(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    if (R == 0) return;
    const std::int64_t parts = argmax_parts(stream, R, args.x.dim(1));
    const Scratch found(stream, static_cast<std::size_t>(R * parts) * sizeof(Best<Rank<T>>));
    const T* const x = data_of<const T>(args.x);
    const dim3 grid(static_cast<unsigned>(R), static_cast<unsigned>(parts));
    launch_on(stream, &argmax_parts_kernel<T>, grid, kThreads, 0, args.x.dim(1), args.x.stride(0),
              args.x.stride(1), x, found.as<Best<Rank<T>>>());
    launch_on(stream, &argmax_merge_kernel<T>, grid.x, kThreads, 0, static_cast<int>(parts),
              args.x.stride(0), args.x.stride(1), x, found.as<Best<Rank<T>>>(),
              data_of<std::int64_t>(args.indices), data_of<T>(args.values));
  });
}

KernelStatus top_k(Stream& stream, const TopKArgs& args) {
  const std::int64_t R = args.x.dim(0);
  const std::int64_t D = args.x.dim(1);
  if (D > std::numeric_limits<std::int32_t>::max()) {
    return KernelStatus::unsupported("rows of more than 2^31 elements");
  }
  return switch_ordered(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    if (R == 0) return;
    const T* const x = data_of<const T>(args.x);
    T* const values = data_of<T>(args.values);
    std::int64_t* const indices = data_of<std::int64_t>(args.indices);
    if (D > kShortRow) {
      top_k_long(stream, args, x, values, indices);
      return;
    }
    launch_on(stream, &top_k_short_kernel<T>, static_cast<unsigned>(R), kThreads, 0, D,
              args.values.dim(1), args.x.stride(0), args.x.stride(1), x, values, indices);
  });
}

KernelStatus scatter_rows(Stream& stream, const ScatterRowsArgs& args) {
  const std::int64_t R = args.dy.dim(0);
  if (args.dx.numel() == 0) return KernelStatus::ok();
  const std::size_t bytes = static_cast<std::size_t>(args.dx.numel()) * size_of(args.dx.dtype);
  check(cudaMemsetAsync(args.dx.data, 0, bytes, activate(stream)), "scatter_rows");
  switch_floating(args.dx.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &scatter_kernel<T>, blocks_for(R), kThreads, 0, R, args.dy.dim(1),
              args.dx.dim(1), data_of<const T>(args.dy), data_of<const std::int64_t>(args.indices),
              data_of<T>(args.dx));
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
