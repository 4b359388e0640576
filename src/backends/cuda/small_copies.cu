#include "backends/cuda/small_copies.hpp"

#include <algorithm>

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_cores.cuh"

namespace wick::cuda {

namespace {

constexpr int kThreads = 128;

// Eight elements `step` apart times `scale`, as 16-bit numbers.
template <class T, class Source>
__device__ __forceinline__ uint4 round_eight(const Source* from, std::int64_t step, float scale) {
  float values[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] = scale * to_float(from[i * step]);
  return make_uint4(pack_two<T>(values[0], values[1]), pack_two<T>(values[2], values[3]),
                    pack_two<T>(values[4], values[5]), pack_two<T>(values[6], values[7]));
}

// Neighbouring threads are neighbours along the dense axis of what they read.
template <class T>
__global__ void small_copies_kernel(const __grid_constant__ SmallCopies copies) {
  hopper::let_next_begin();
  const SmallCopy& p = copies.each[blockIdx.y];
  const std::int64_t unit = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (blockIdx.y == 0) {
    const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = unit; i < copies.zero_count; i += step) copies.zeros[i] = 0;
  }
  const std::int64_t eights = p.columns / 8;
  const bool along_rows = p.from.column_stride != 1;
  const std::int64_t row = along_rows ? unit % p.rows : unit / eights;
  const std::int64_t column = 8 * (along_rows ? unit / p.rows : unit % eights);
  if (row >= p.rows || column >= p.columns) return;
  const std::int64_t at = row * p.from.row_stride + column * p.from.column_stride;
  uint4 eight;
  if (p.from.dtype == DType::kF32) {
    eight =
        round_eight<T>(static_cast<const float*>(p.from.data) + at, p.from.column_stride, p.scale);
  } else {
    eight = round_eight<T>(static_cast<const T*>(p.from.data) + at, p.from.column_stride, p.scale);
  }
  // SAFETY: rows of `to` are made of 16 bytes and begin at multiples of them.
  *reinterpret_cast<uint4*>(static_cast<T*>(p.to) + row * p.columns + column) = eight;
}

}  // namespace

void copy_small(Stream& stream, const SmallCopies& copies, DType dtype) {
  std::int64_t most = 0;
  for (int i = 0; i < copies.count; ++i) {
    const SmallCopy& copy = copies.each[static_cast<std::size_t>(i)];
    most = std::max(most, copy.rows * copy.columns / 8);
  }
  if (most == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(most, kThreads)),
                  static_cast<unsigned>(copies.count));
  if (dtype == DType::kF16) {
    launch_on(stream, &small_copies_kernel<half>, grid, kThreads, 0, copies);
  } else {
    launch_on(stream, &small_copies_kernel<bfloat16>, grid, kThreads, 0, copies);
  }
}

}  // namespace wick::cuda
