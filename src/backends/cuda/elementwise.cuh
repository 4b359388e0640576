#pragma once

#include "backends/cuda/launch.cuh"

// Kernels over dense arrays of one length. A functor has a member `float operator()(float...)`.

namespace wick::cuda {

inline constexpr int kElementwiseThreads = 256;

namespace detail_elementwise {

template <int N, class T, class F, class... Inputs>
__global__ void apply_kernel(std::int64_t n, F f, T* out, const Inputs*... inputs) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x * N;
  std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * N;
  for (; i + N <= n; i += step) {
    float results[N];
    const auto compute = [&](const auto&... loaded) {
#pragma unroll
      for (int k = 0; k < N; ++k) results[k] = f(loaded.values[k]...);
    };
    compute(load_floats<N>(inputs + i)...);
    store_pack<N>(out + i, results);
  }
  if (N > 1 && i < n) {  // the one thread that meets the end
    for (; i < n; ++i) out[i] = from_float<T>(f(to_float(inputs[i])...));
  }
}

}  // namespace detail_elementwise

/// out[i] = f(inputs[i]...) for i < n. out may be one of the inputs.
template <class T, class F, class... Inputs>
void apply(Stream& stream, std::int64_t n, const F& f, T* out, const Inputs*... inputs) {
  if (n == 0) return;
  // As many elements at a time as 16 bytes hold of the widest type.
  constexpr int kWidest = static_cast<int>(std::max({sizeof(T), sizeof(Inputs)...}));
  constexpr int kPack = 16 / kWidest;
  const bool packed =
      is_aligned(out, kPack * sizeof(T)) && (is_aligned(inputs, kPack * sizeof(Inputs)) && ...);
  if (packed) {
    const unsigned grid = grid_of(stream, n, std::int64_t{kElementwiseThreads} * kPack, 16);
    launch_on(stream, &detail_elementwise::apply_kernel<kPack, T, F, Inputs...>, grid,
              kElementwiseThreads, 0, n, f, out, inputs...);
  } else {
    const unsigned grid = grid_of(stream, n, kElementwiseThreads, 16);
    launch_on(stream, &detail_elementwise::apply_kernel<1, T, F, Inputs...>, grid,
              kElementwiseThreads, 0, n, f, out, inputs...);
  }
}

/// dst[i] = src[i] with conversion between floating dtypes, for i < n.
void convert(Stream& stream, const void* src, DType from, void* dst, DType to, std::int64_t n);

}  // namespace wick::cuda
