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

// The exponentials of a block of a row, and what else must pass over memory: beside the arithmetic of an exponential that
// costs next to nothing.
struct SoftmaxStep {
  const float* x;  // out = exp(x − shift)
  float* out;
  float shift;
  std::int64_t count;
  float* finished;  // `count` elements to be multiplied with `factor`, or null
  float factor;
  const float* next;  // the block whose largest element is wanted
  std::int64_t next_count;
};

// Returns Σ out.
HWY_INLINE double softmax_step(const SoftmaxStep& s, float& next_max) {
  const auto shift = hn::Set(F32(), s.shift);
  const auto factor = hn::Set(F32(), s.factor);
  auto max = hn::Set(F32(), -kInfinity);
  const double sum = sum_in_blocks(s.count, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    // Before anything is stored: rows of many widths lie such that a load seems to be of what has just been stored.
    const auto x = load_some(s.x + i, n, -kInfinity);
    if (i + n <= s.next_count) max = hn::Max(max, load_some(s.next + i, n, -kInfinity));
    if (s.finished != nullptr) {
      store_some(hn::Mul(load_some(s.finished + i, n), factor), s.finished + i, n);
    }
    const auto weight = exp_or_nan(hn::Sub(x, shift));
    store_some(weight, s.out + i, n);
    return weight;
  });
  const std::int64_t seen = s.count <= s.next_count ? s.count : s.next_count / lanes() * lanes();
  for_each_vector(s.next_count - seen, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    max = hn::Max(max, load_some(s.next + seen + i, n, -kInfinity));
  });
  next_max = largest_of(max, s.next, s.next_count);
  return sum;
}

HWY_INLINE void scale_row(float* out, std::int64_t D, float factor) {
  const auto vfactor = hn::Set(F32(), factor);
  for_each_vector(D, [&](std::int64_t i, std::int64_t n) HWY_ATTR {
    store_some(hn::Mul(load_some(out + i, n), vfactor), out + i, n);
  });
}

// Rows of f32, one after the other: out = exp(x − max) / Σ exp(x − max), zeros for a row that is −∞ throughout. Blocks keep
// their exponentials in out, each less its own maximum, until the row's is known: x is read once. A row is finished while
// the exponentials of the next one are computed.
class SoftmaxRows {
 public:
  explicit SoftmaxRows(std::int64_t D)
      : D_(D), block_((D + kMostBlocks * kRowBlock - 1) / (kMostBlocks * kRowBlock) * kRowBlock) {}

  void run(const float* x, std::int64_t stride, float* out, std::int64_t rows) {
    float max = row_max(x, count(0));
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* const next_row = r + 1 < rows ? x + (r + 1) * stride : x + r * stride;
      max = add_row(x + r * stride, max, next_row, out + r * D_,
                    r == 0 ? nullptr : out + (r - 1) * D_);
    }
    for (std::int64_t i = 0; i < D_; i += block_) {
      scale_row(out + (rows - 1) * D_ + i, count(i), factors_[place(i)]);
    }
  }

 private:
  static constexpr std::int64_t kMostBlocks = 64;

  // Elements of the block that begins at i, and its number.
  std::int64_t count(std::int64_t i) const { return std::min(block_, D_ - i); }
  std::size_t place(std::int64_t i) const { return static_cast<std::size_t>(i / block_); }

  // Exponentials of a row whose first block has `max`, and their factors. Finishes the row before, if there is one; returns the
  // largest of the first block of the row that comes next.
  HWY_INLINE float add_row(const float* x, float max, const float* next_row, float* out,
                           float* finished) {
    RowExponentials row;
    for (std::int64_t i = 0; i < D_; i += block_) {
      const bool last = i + block_ >= D_;
      const SoftmaxStep step = {.x = x + i,
                                .out = out + i,
                                .shift = max == -kInfinity ? 0.0F : max,
                                .count = count(i),
                                .finished = finished == nullptr ? nullptr : finished + i,
                                .factor = factors_[place(i)],
                                .next = last ? next_row : x + i + block_,
                                .next_count = count(last ? 0 : i + block_)};
      maxima_[place(i)] = max;
      float next_max = 0;
      const double sum = softmax_step(step, next_max);
      if (max != -kInfinity) row.add(max, sum);
      max = next_max;
    }
    for (std::int64_t i = 0; i < D_; i += block_) {
      factors_[place(i)] = factor(maxima_[place(i)], row);
    }
    return max;
  }

  // What exponentials less `max` are to be multiplied with.
  static float factor(float max, const RowExponentials& row) {
    if (row.max == -kInfinity) return 0;
    if (max == row.max) return static_cast<float>(1 / row.sum);
    const double shift = static_cast<double>(max) - static_cast<double>(row.max);
    return static_cast<float>(std::exp(shift) / row.sum);
  }

  std::int64_t D_;
  std::int64_t block_;
  std::array<float, kMostBlocks> maxima_{};
  std::array<float, kMostBlocks> factors_{};
};

// One row of 16 bits, which cannot hold exponentials: they are computed twice.
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

// x [R,D] rows a.x.stride(0) apart, out [R,D] dense. A task owns whole rows: a softmax in f32 reads x once and
// passes over out twice, all else reads x twice.
void softmax_rows(Stream& stream, const SoftmaxArgs& a, bool logarithm) {
  const std::int64_t D = a.x.dim(1);
  switch_floating(a.x.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = data_as<const T>(a.x);
    T* const out = data_as<T>(a.out);
    const std::int64_t stride = a.x.stride(0);
    parallel_for(stream, a.x.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
      if constexpr (std::is_same_v<T, float>) {
        if (!logarithm) {
          SoftmaxRows(D).run(x + begin * stride, stride, out + begin * D, end - begin);
          return;
        }
      }
      for (std::int64_t r = begin; r < end; ++r) {
        if (logarithm) {
          log_softmax_row(x + r * stride, out + r * D, D);
        } else {
          softmax_row(x + r * stride, out + r * D, D);
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
