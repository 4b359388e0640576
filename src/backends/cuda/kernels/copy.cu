#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/elementwise.cuh"
#include "backends/cuda/strided.cuh"
#include "base/truncate.hpp"
#include "runtime/args/elementwise_args.hpp"

namespace wick::cuda {

namespace {

struct Identity {
  __device__ float operator()(float x) const { return x; }
};

// One element as the value that every dtype is converted from: floats as floats, integers as integers.
template <class From, class To>
__device__ To converted(From value) {
  constexpr bool kFromInteger = std::is_integral_v<From>;
  if constexpr (std::is_same_v<From, To>) {
    return value;
  } else if constexpr (std::is_same_v<To, bool>) {
    if constexpr (kFromInteger) return value != 0;
    return to_float(value) != 0.0F;
  } else if constexpr (std::is_integral_v<To>) {
    if constexpr (kFromInteger) return static_cast<To>(value);
    return truncate<To>(to_float(value));
  } else if constexpr (kFromInteger) {
    return from_float<To>(static_cast<float>(value));
  } else {
    return from_float<To>(to_float(value));
  }
}

template <class From, class To>
__global__ void copy_kernel(Loops<2> loops, const From* src, To* dst) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < loops.numel;
       i += step) {
    std::int64_t at[2];
    loops.offsets(i, at);
    dst[at[1]] = converted<From, To>(src[at[0]]);
  }
}

constexpr int kTile = 32;
constexpr int kTileRows = 8;

// dst [R,C] dense rows from src with its rows along the other axis: both sides are touched in order.
template <class From, class To>
__global__ void transpose_kernel(Loops<2> outer, std::int64_t rows, std::int64_t columns,
                                 std::int64_t src_column_stride, std::int64_t dst_row_stride,
                                 const From* src, To* dst) {
  __shared__ From tile[kTile][kTile + 1];
  std::int64_t at[2];
  outer.offsets(blockIdx.z, at);
  const std::int64_t row = std::int64_t{blockIdx.y} * kTile;
  const std::int64_t column = std::int64_t{blockIdx.x} * kTile;
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    if (column + i < columns && row + threadIdx.x < rows) {
      tile[i][threadIdx.x] = src[at[0] + (column + i) * src_column_stride + row + threadIdx.x];
    }
  }
  __syncthreads();
  for (int i = threadIdx.y; i < kTile; i += kTileRows) {
    if (row + i < rows && column + threadIdx.x < columns) {
      dst[at[1] + (row + i) * dst_row_stride + column + threadIdx.x] =
          converted<From, To>(tile[threadIdx.x][i]);
    }
  }
}

// The dimension of src with stride 1, when the innermost one has not and tiles can be used; else -1.
int transposed_dimension(const Loops<2>& loops) {
  if (loops.rank < 2 || loops.strides[loops.rank - 1][1] != 1) return -1;
  for (int d = loops.rank - 2; d >= 0; --d) {
    if (loops.strides[d][0] == 1) return d;
  }
  return -1;
}

template <class From, class To>
bool copy_transposed(Stream& stream, const Loops<2>& loops, const From* src, To* dst) {
  const int d = transposed_dimension(loops);
  if (d < 0) return false;
  const int last = loops.rank - 1;
  Loops<2> outer;
  for (int i = 0; i < last; ++i) {
    if (i != d) outer.add_inner(loops.sizes[i], {loops.strides[i][0], loops.strides[i][1]});
  }
  const std::int64_t rows = ceil_div(loops.sizes[d], kTile);
  constexpr std::int64_t kMostBlocks = 65535;
  if (outer.numel > kMostBlocks || rows > kMostBlocks) return false;
  const dim3 grid(static_cast<unsigned>(ceil_div(loops.sizes[last], kTile)),
                  static_cast<unsigned>(rows), static_cast<unsigned>(outer.numel));
  launch_on(stream, &transpose_kernel<From, To>, grid, dim3(kTile, kTileRows), 0, outer,
            loops.sizes[d], loops.sizes[last], loops.strides[last][0], loops.strides[d][1], src,
            dst);
  return true;
}

template <class From, class To>
void copy_as(Stream& stream, const Loops<2>& loops, const CopyArgs& args) {
  const From* const src = data_of<const From>(args.src);
  To* const dst = data_of<To>(args.dst);
  constexpr bool kFloating = !std::is_integral_v<From> && !std::is_integral_v<To>;
  if constexpr (kFloating) {
    if (loops.is_dense()) {
      apply(stream, loops.numel, Identity{}, dst, src);
      return;
    }
    if (copy_transposed(stream, loops, src, dst)) return;
  }
  launch_on(stream, &copy_kernel<From, To>, grid_of(stream, loops.numel, kElementwiseThreads, 16),
            kElementwiseThreads, 0, loops, src, dst);
}

template <class T>
__global__ void fill_kernel(Loops<1> loops, T value, T* out) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < loops.numel;
       i += step) {
    std::int64_t at[1];
    loops.offsets(i, at);
    out[at[0]] = value;
  }
}

template <class T>
T filled(double value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value != 0;
  } else if constexpr (std::is_integral_v<T>) {
    return truncate<T>(value);
  } else if constexpr (std::is_same_v<T, half>) {
    return __float2half_rn(static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return __float2bfloat16_rn(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace

void convert(Stream& stream, const void* src, DType from, void* dst, DType to, std::int64_t n) {
  switch_floating(from, [&]<class From>(std::type_identity<From>) {
    switch_floating(to, [&]<class To>(std::type_identity<To>) {
      apply(stream, n, Identity{}, static_cast<To*>(dst), static_cast<const From*>(src));
    });
  });
}

KernelStatus copy(Stream& stream, const CopyArgs& args) {
  const Loops<2> loops = loops_over_all(args.src, args.dst);
  if (loops.numel == 0) return KernelStatus::ok();
  if (args.src.dtype == args.dst.dtype && loops.is_dense()) {
    const std::size_t bytes = static_cast<std::size_t>(loops.numel) * size_of(args.src.dtype);
    check(cudaMemcpyAsync(args.dst.data, args.src.data, bytes, cudaMemcpyDeviceToDevice,
                          activate(stream)),
          "copy");
    return KernelStatus::ok();
  }
  switch_dtype(args.src.dtype, [&]<class From>(std::type_identity<From>) {
    switch_dtype(args.dst.dtype,
                 [&]<class To>(std::type_identity<To>) { copy_as<From, To>(stream, loops, args); });
  });
  return KernelStatus::ok();
}

KernelStatus fill(Stream& stream, const FillArgs& args) {
  const Loops<1> loops = loops_over_all(args.out);
  if (loops.numel == 0) return KernelStatus::ok();
  switch_dtype(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &fill_kernel<T>, grid_of(stream, loops.numel, kElementwiseThreads, 16),
              kElementwiseThreads, 0, loops, filled<T>(args.value), data_of<T>(args.out));
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
