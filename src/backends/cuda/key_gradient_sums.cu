#include "backends/cuda/key_gradient_sums.hpp"

#include "backends/cuda/launch.cuh"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_key_gradients_kernel(const T* part, float* sums, std::int64_t count) {
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    sums[i] += to_float(part[i]);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    store_key_gradients_kernel(const float* sums, T* to, std::int64_t count, std::int64_t Dh,
                               std::int64_t token_stride) {
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    to[i / Dh * token_stride + i % Dh] = from_float<T>(sums[i]);
  }
}

}  // namespace

void add_key_gradients(Stream& stream, DType dtype, const void* part, float* sums,
                       std::int64_t count) {
  switch_floating(dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, add_key_gradients_kernel<T>, grid_of(stream, count, kThreads), kThreads, 0,
              static_cast<const T*>(part), sums, count);
  });
}

void store_key_gradients(Stream& stream, const float* sums, const TensorView& to, std::int64_t row,
                         std::int64_t key_head) {
  const std::int64_t count = to.dim(1) * to.dim(3);
  switch_floating(to.dtype, [&]<class T>(std::type_identity<T>) {
    T* const begin = data_of<T>(to) + row * to.stride(0) + key_head * to.stride(2);
    launch_on(stream, store_key_gradients_kernel<T>, grid_of(stream, count, kThreads), kThreads, 0,
              sums, begin, count, to.dim(3), to.stride(1));
  });
}

}  // namespace wick::cuda
