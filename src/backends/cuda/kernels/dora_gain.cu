#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/dense_products.hpp"
#include "backends/cuda/launch.cuh"
#include "runtime/args/dora_gain_args.hpp"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;
// The update scale · b a is made for so many elements at a time: nothing of w's size is ever made.
constexpr std::int64_t kElementsAtOnce = std::int64_t{1} << 24;

// A block takes one row of w and of the update. Squares add up in f64: those of the smallest numbers are
// zero in f32.
template <class T>
__global__ void gain_kernel(std::int64_t K, std::int64_t w_stride, const float* magnitude,
                            const T* w, const float* update, float* out, float* norm) {
  const std::int64_t row = blockIdx.x;
  double total = 0;
  for (std::int64_t k = threadIdx.x; k < K; k += kThreads) {
    const double value = to_float(w[row * w_stride + k]) + update[row * K + k];
    total += value * value;
  }
  total = block_reduce<Sum>(total, 0.0);
  if (threadIdx.x != 0) return;
  const auto length = static_cast<float>(sqrt(total));
  out[row] = length == 0 ? 0.0F : magnitude[row] / length;
  if (norm != nullptr) norm[row] = length;
}

__global__ void gain_backward_kernel(std::int64_t n, const float* dy, const float* norm,
                                     float* dmagnitude) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) dmagnitude[i] = norm[i] == 0 ? 0.0F : dy[i] / norm[i];
}

// update [rows,K] = scale · b a for rows [row, row + rows).
KernelStatus make_update(Stream& stream, const DoraGainArgs& args, std::int64_t row,
                         std::int64_t rows, void* update) {
  const std::int64_t R = args.a.dim(0);
  const std::int64_t K = args.a.dim(1);
  std::byte* const first = static_cast<std::byte*>(args.b.data) +
                           row * R * static_cast<std::int64_t>(size_of(args.b.dtype));
  return multiply(stream, {.M = rows,
                           .N = K,
                           .K = R,
                           .a = {.data = first, .dtype = args.b.dtype, .row_stride = R},
                           .b = {.data = args.a.data, .dtype = args.a.dtype, .row_stride = K},
                           .c = update,
                           .c_dtype = DType::kF32,
                           .c_row_stride = K,
                           .alpha = args.scale});
}

}  // namespace

KernelStatus dora_gain(Stream& stream, const DoraGainArgs& args) {
  const std::int64_t N = args.w.dim(0);
  const std::int64_t K = args.w.dim(1);
  if (N == 0) return KernelStatus::ok();
  const std::int64_t at_once =
      std::clamp<std::int64_t>(kElementsAtOnce / std::max<std::int64_t>(K, 1), 1, N);
  const Scratch update(stream, static_cast<std::size_t>(at_once * K) * sizeof(float));
  for (std::int64_t row = 0; row < N; row += at_once) {
    const std::int64_t rows = std::min(at_once, N - row);
    const KernelStatus status = make_update(stream, args, row, rows, update.data());
    if (!status.is_ok()) return status;
    float* const norm = args.norm ? data_of<float>(args.norm) + row : nullptr;
    switch_floating(args.w.dtype, [&]<class T>(std::type_identity<T>) {
      launch_on(stream, &gain_kernel<T>, static_cast<unsigned>(rows), kThreads, 0, K,
                args.w.stride(0), data_of<const float>(args.magnitude) + row,
                data_of<const T>(args.w) + row * args.w.stride(0),
                static_cast<const float*>(update.as<float>()), data_of<float>(args.out) + row,
                norm);
    });
  }
  return KernelStatus::ok();
}

KernelStatus dora_gain_backward(Stream& stream, const DoraGainBackwardArgs& args) {
  const std::int64_t n = args.dy.numel();
  if (n == 0) return KernelStatus::ok();
  launch_on(stream, &gain_backward_kernel, static_cast<unsigned>(ceil_div(n, kThreads)), kThreads,
            0, n, data_of<const float>(args.dy), data_of<const float>(args.norm),
            data_of<float>(args.dmagnitude));
  return KernelStatus::ok();
}

}  // namespace wick::cuda
