#include <cmath>
#include <numbers>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/random.cuh"
#include "runtime/args/random_args.hpp"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWords = 4;  // of a counter

// Calls make(first, words) for each group of four elements.
template <class Make>
__device__ void for_each_counter(const RandomKey& key, std::int64_t n, const Make& make) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x * kWords;
  std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kWords;
  for (; i < n; i += step) make(i, words_of(key, i));
}

// Rounding may reach the upper bound, which the numbers must stay below.
template <class T>
__global__ void uniform_kernel(RandomKey key, std::int64_t n, float a, double width, double b,
                               T last, T* out) {
  for_each_counter(key, n, [&](std::int64_t first, const PhiloxCounter& words) {
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      if (first + k >= n) return;
      const float step = static_cast<float>(width * static_cast<double>(uniform(words[k])));
      const T value = from_float<T>(__fadd_rn(a, step));
      out[first + k] = static_cast<double>(to_float(value)) < b ? value : last;
    }
  });
}

// Box and Muller, in f64 as on the CPU: weights must not depend on the device that drew them.
template <class T>
__global__ void normal_kernel(RandomKey key, std::int64_t n, double mean, double std, T* out) {
  for_each_counter(key, n, [&](std::int64_t first, const PhiloxCounter& words) {
#pragma unroll
    for (int k = 0; k < kWords; k += 2) {
      const double above_0 = (uniform_bits(words[k]) + 1.0) * 0x1p-24;
      const double turn = uniform_bits(words[k + 1]) * 0x1p-24;
      const double r = sqrt(-2.0 * log(above_0));
      const double theta = 2.0 * std::numbers::pi * turn;
      const double pair[2] = {r * cos(theta), r * sin(theta)};
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if (first + k + j < n) {
          out[first + k + j] = from_float<T>(static_cast<float>(mean + std * pair[j]));
        }
      }
    }
  });
}

template <class T>
__global__ void dropout_kernel(DropoutRule rule, std::int64_t n, const T* x, T* out) {
  for_each_counter(rule.key, n, [&](std::int64_t first, const PhiloxCounter& words) {
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      if (first + k >= n) return;
      out[first + k] = from_float<T>(rule.apply(words[k], to_float(x[first + k])));
    }
  });
}

template <class T>
T rounded_to(float value) {
  if constexpr (std::is_same_v<T, half>) return __float2half_rn(value);
  if constexpr (std::is_same_v<T, bfloat16>) return __float2bfloat16_rn(value);
  return static_cast<T>(value);
}

double as_double(float value) { return static_cast<double>(value); }
double as_double(half value) { return static_cast<double>(__half2float(value)); }
double as_double(bfloat16 value) { return static_cast<double>(__bfloat162float(value)); }

// The largest T below `bound`: the neighbours of its rounding in f32 come in ever larger steps, until one
// rounds to less.
template <class T>
T largest_below(double bound) {
  const float start = std::nextafter(static_cast<float>(bound), -HUGE_VALF);
  const float spacing = std::fmax(static_cast<float>(bound) - start, 0x1p-149F);
  if (as_double(rounded_to<T>(static_cast<float>(bound))) < bound) {
    return rounded_to<T>(static_cast<float>(bound));
  }
  float distance = spacing;
  while (as_double(rounded_to<T>(static_cast<float>(bound) - distance)) >= bound) distance *= 2;
  return rounded_to<T>(static_cast<float>(bound) - distance);
}

}  // namespace

KernelStatus random_uniform(Stream& stream, const RandomArgs& args) {
  const std::int64_t n = args.out.numel();
  if (n == 0) return KernelStatus::ok();
  const float a = static_cast<float>(args.a);
  const double width = static_cast<double>(static_cast<float>(args.b) - a);
  switch_floating(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &uniform_kernel<T>, grid_of(stream, n, kThreads * kWords, 16), kThreads, 0,
              random_key(args.key), n, a, width, args.b, largest_below<T>(args.b),
              data_of<T>(args.out));
  });
  return KernelStatus::ok();
}

KernelStatus random_normal(Stream& stream, const RandomArgs& args) {
  const std::int64_t n = args.out.numel();
  if (n == 0) return KernelStatus::ok();
  switch_floating(args.out.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &normal_kernel<T>, grid_of(stream, n, kThreads * kWords, 16), kThreads, 0,
              random_key(args.key), n, args.a, args.b, data_of<T>(args.out));
  });
  return KernelStatus::ok();
}

KernelStatus dropout(Stream& stream, const DropoutArgs& args) {
  const std::int64_t n = args.x.numel();
  if (n == 0) return KernelStatus::ok();
  switch_floating(args.x.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &dropout_kernel<T>, grid_of(stream, n, kThreads * kWords, 16), kThreads, 0,
              dropout_rule(args.p, args.key), n, data_of<const T>(args.x), data_of<T>(args.out));
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
