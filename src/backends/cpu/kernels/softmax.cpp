#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/softmax.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/softmax_rows-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/softmax_args.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// out = exp(x − max), whose sum is returned.
HWY_INLINE double store_exponentials(const float* x, float* out, std::int64_t D, float max) {
  const auto vmax = hn::Set(F32(), max);
  return sum_in_blocks(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto weight = exp_or_nan(hn::Sub(load_some(x + i, n, -kInfinity), vmax));
    store_some(weight, out + i, n);
    return weight;
  });
}

HWY_INLINE void scale_row(float* out, std::int64_t D, double factor) {
  const auto vfactor = hn::Set(F32(), static_cast<float>(factor));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    store_some(hn::Mul(load_some(out + i, n), vfactor), out + i, n);
  });
}

// out = exp(x − max) / Σ exp(x − max) for one row; zeros for a row that is −∞ throughout. Blocks keep their exponentials in
// out, each less its own maximum, until the row's is known: x is read once.
inline void softmax_row(const float* x, float* out, std::int64_t D) {
  constexpr std::int64_t kMostBlocks = 64;
  const std::int64_t block = std::max(kRowBlock, (D + kMostBlocks - 1) / kMostBlocks);
  std::array<float, kMostBlocks> maxima;
  RowExponentials row;
  for (std::int64_t i = 0; i * block < D; ++i) {
    const std::int64_t count = std::min(block, D - i * block);
    const float max = row_max(x + i * block, count);
    maxima[static_cast<std::size_t>(i)] = max;
    if (max == -kInfinity) {
      std::fill_n(out + i * block, count, 0.0F);
    } else {
      row.add(max, store_exponentials(x + i * block, out + i * block, count, max));
    }
  }
  if (row.max == -kInfinity) return;
  for (std::int64_t i = 0; i * block < D; ++i) {
    const auto shift =
        static_cast<double>(maxima[static_cast<std::size_t>(i)]) - static_cast<double>(row.max);
    scale_row(out + i * block, std::min(block, D - i * block), std::exp(shift) / row.sum);
  }
}

// The same for 16 bits, which cannot hold exponentials: they are computed twice.
template <class T>
void softmax_row(const T* x, T* out, std::int64_t D) {
  const RowExponentials row = row_exponentials(x, D);
  if (row.max == -kInfinity) {
    std::fill_n(out, D, T(0.0F));
    return;
  }
  const auto vmax = hn::Set(F32(), row.max);
  const auto inverse = hn::Set(F32(), static_cast<float>(1.0 / row.sum));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto weight = exp_or_nan(hn::Sub(load_some(x + i, n, -kInfinity), vmax));
    store_some(hn::Mul(weight, inverse), out + i, n);
  });
}

// out = (x − max) − log Σ exp(x − max) for one row; −∞ for a row that is −∞ throughout.
template <class T>
void log_softmax_row(const T* x, T* out, std::int64_t D) {
  const RowExponentials row = row_exponentials(x, D);
  if (row.max == -kInfinity) {
    std::fill_n(out, D, T(-kInfinity));
    return;
  }
  const auto vmax = hn::Set(F32(), row.max);
  const auto log_sum = hn::Set(F32(), static_cast<float>(std::log(row.sum)));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    store_some(hn::Sub(hn::Sub(load_some(x + i, n), vmax), log_sum), out + i, n);
  });
}

// dx = y (dy − Σ dy · y) for one row.
template <class T>
void softmax_backward_row(const T* dy, const T* y, T* dx, std::int64_t D) {
  const double dot = sum_in_blocks(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    return hn::Mul(load_some(dy + i, n), load_some(y + i, n));
  });
  const auto vdot = hn::Set(F32(), static_cast<float>(dot));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto centred = hn::Sub(load_some(dy + i, n), vdot);
    store_some(hn::Mul(load_some(y + i, n), centred), dx + i, n);
  });
}

// dx = dy − exp(y) Σ dy for one row; zeros for a row that is −∞ throughout.
template <class T>
void log_softmax_backward_row(const T* dy, const T* y, T* dx, std::int64_t D) {
  if (row_max(y, D) == -kInfinity) {
    std::fill_n(dx, D, T(0.0F));
    return;
  }
  const double sum = sum_in_blocks(
      D, [&](std::int64_t i, std::int64_t n) HWY_ATTR { return load_some(dy + i, n); });
  const auto vsum = hn::Set(F32(), static_cast<float>(sum));
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    const auto probability = exp_or_nan(load_some(y + i, n));
    store_some(hn::NegMulAdd(probability, vsum, load_some(dy + i, n)), dx + i, n);
  });
}

// x [R,D] rows a.x.stride(0) apart, out [R,D] dense. A task owns whole rows: f32 reads x once and
// passes over out twice, the others read x twice.
void softmax_rows(Stream& stream, const SoftmaxArgs& a, bool logarithm) {
  const std::int64_t D = a.x.dim(1);
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(a.x);
    T* const out = data_as<T>(a.out);
    parallel_for(stream, a.x.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        if (logarithm) {
          log_softmax_row(x + r * a.x.stride(0), out + r * D, D);
        } else {
          softmax_row(x + r * a.x.stride(0), out + r * D, D);
        }
      }
    });
  });
}

// dy, y and dx [R,D] dense. A task owns whole rows and reads each of them twice.
void softmax_backward_rows(Stream& stream, const SoftmaxBackwardArgs& a, bool logarithm) {
  const std::int64_t D = a.y.dim(1);
  switch_floating(a.y.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const dy = data_as<const T>(a.dy);
    const T* const y = data_as<const T>(a.y);
    T* const dx = data_as<T>(a.dx);
    parallel_for(stream, a.y.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        if (logarithm) {
          log_softmax_backward_row(dy + r * D, y + r * D, dx + r * D, D);
        } else {
          softmax_backward_row(dy + r * D, y + r * D, dx + r * D, D);
        }
      }
    });
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(softmax_rows);
HWY_EXPORT(softmax_backward_rows);

KernelStatus softmax(Stream& stream, const SoftmaxArgs& a) {
  HWY_DYNAMIC_DISPATCH(softmax_rows)(stream, a, false);
  return KernelStatus::ok();
}

KernelStatus log_softmax(Stream& stream, const SoftmaxArgs& a) {
  HWY_DYNAMIC_DISPATCH(softmax_rows)(stream, a, true);
  return KernelStatus::ok();
}

KernelStatus softmax_backward(Stream& stream, const SoftmaxBackwardArgs& a) {
  HWY_DYNAMIC_DISPATCH(softmax_backward_rows)(stream, a, false);
  return KernelStatus::ok();
}

KernelStatus log_softmax_backward(Stream& stream, const SoftmaxBackwardArgs& a) {
  HWY_DYNAMIC_DISPATCH(softmax_backward_rows)(stream, a, true);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
