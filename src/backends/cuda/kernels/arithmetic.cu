#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/elementwise.cuh"
#include "backends/cuda/strided.cuh"
#include "runtime/args/elementwise_args.hpp"

namespace wick::cuda {

namespace {

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
  // Integers wrap around, as unsigned ones do without undefined behaviour.
  __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a + b; }
};
struct Subtract {
  __device__ float operator()(float a, float b) const { return a - b; }
  __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a - b; }
};
struct Multiply {
  __device__ float operator()(float a, float b) const { return a * b; }
  __device__ std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a * b; }
};

template <class F, class T>
__device__ T combine(F f, T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(f(static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b)));
  } else {
    return from_float<T>(f(to_float(a), to_float(b)));
  }
}

template <class T, class F>
__global__ void binary_kernel(Loops<3> loops, F f, const T* a, const T* b, T* out) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < loops.numel;
       i += step) {
    std::int64_t at[3];
    loops.offsets(i, at);
    out[at[2]] = combine(f, a[at[0]], b[at[1]]);
  }
}

template <class F>
KernelStatus binary(Stream& stream, const BinaryArgs& args) {
  const Loops<3> loops = loops_over_all(args.a, args.b, args.out);
  if (loops.numel == 0) return KernelStatus::ok();
  const DType dtype = args.out.dtype;
  if (dtype == DType::kU8 || dtype == DType::kBool) {
    return KernelStatus::unsupported("arithmetic on u8 and bool is not defined");
  }
  switch_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    const T* const a = data_of<const T>(args.a);
    const T* const b = data_of<const T>(args.b);
    T* const out = data_of<T>(args.out);
    if constexpr (!std::is_integral_v<T>) {
      if (loops.is_dense()) {
        apply(stream, loops.numel, F{}, out, a, b);
        return;
      }
    }
    launch_on(stream, &binary_kernel<T, F>, grid_of(stream, loops.numel, kElementwiseThreads, 16),
              kElementwiseThreads, 0, loops, F{}, a, b, out);
  });
  return KernelStatus::ok();
}

struct Scale {
  float factor;
  const float* factor_tensor;
  __device__ float operator()(float x) const {
    return x * (factor_tensor == nullptr ? factor : factor * *factor_tensor);
  }
};

}  // namespace

KernelStatus add(Stream& stream, const BinaryArgs& args) { return binary<Add>(stream, args); }
KernelStatus sub(Stream& stream, const BinaryArgs& args) { return binary<Subtract>(stream, args); }
KernelStatus mul(Stream& stream, const BinaryArgs& args) { return binary<Multiply>(stream, args); }

KernelStatus scale(Stream& stream, const ScaleArgs& args) {
  const Scale f{static_cast<float>(args.factor), data_of<const float>(args.factor_tensor)};
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    apply(stream, args.x.numel(), f, data_of<T>(args.out), data_of<const T>(args.x));
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
