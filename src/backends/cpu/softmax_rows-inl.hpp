// What softmax, cross-entropy and attention share: exponentials that keep NaN, and reductions of
// one row. Compiled once per instruction set: include after hwy/foreach_target.h and hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_SOFTMAX_ROWS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_SOFTMAX_ROWS_INL_HPP
#undef WICK_BACKENDS_CPU_SOFTMAX_ROWS_INL_HPP
#else
#define WICK_BACKENDS_CPU_SOFTMAX_ROWS_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cpu/exp-inl.hpp"
#include "backends/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Σ term(i, count) over all vectors of a row of n elements; term gives zeros in the lanes from
// count on. Blocks of a few vectors are added up in double: the error does not grow with the width
// of a vocabulary.
template <class Term>
HWY_INLINE double sum_in_blocks(std::int64_t n, const Term& term) {
  const std::int64_t block = 64 * lanes();
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    auto sum = hn::Zero(F32());
    for_each_vector(std::min(block, n - begin), [&](std::int64_t i, std::int64_t count) HWY_ATTR {
      sum = hn::Add(sum, term(begin + i, count));
    });
    total += static_cast<double>(sum_lanes(sum));
  }
  return total;
}

// The largest of x[0..n), of which every lane has seen a part. −∞ only for a row that is −∞ throughout (or empty). A row
// with NaN may give any other value: sums of exp_or_nan() show it.
template <class T>
HWY_INLINE float largest_of(F32Vec of_lanes, const T* x, std::int64_t n) {
  // Emulated vectors answer −FLT_MAX for the maximum of lanes that are all −∞.
  const float largest = hn::AllTrue(F32(), hn::Eq(of_lanes, hn::Set(F32(), -kInfinity)))
                            ? -kInfinity
                            : max_lanes(of_lanes);
  if (largest > -kInfinity) return largest;
  // Maxima drop a NaN, and a row of NaN and −∞ alone must not pass for one without any weight.
  for (std::int64_t j = 0; j < n; ++j) {
    if (std::isnan(static_cast<float>(x[j]))) return std::numeric_limits<float>::quiet_NaN();
  }
  return -kInfinity;
}

template <class T>
HWY_INLINE float row_max(const T* x, std::int64_t n) {
  const std::int64_t step = lanes();
  auto max0 = hn::Set(F32(), -kInfinity);
  auto max1 = max0;
  auto max2 = max0;
  auto max3 = max0;
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    max0 = hn::Max(max0, load(x + i));
    max1 = hn::Max(max1, load(x + i + step));
    max2 = hn::Max(max2, load(x + i + 2 * step));
    max3 = hn::Max(max3, load(x + i + 3 * step));
  }
  for_each_vector(n - i, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
    max0 = hn::Max(max0, load_some(x + i + j, count, -kInfinity));
  });
  return largest_of(hn::Max(hn::Max(max0, max1), hn::Max(max2, max3)), x, n);
}

// Σ exp(x − max); NaN where x has a NaN or max is not finite.
template <class T>
HWY_INLINE double sum_of_exponentials(const T* x, std::int64_t n, float max) {
  const auto vmax = hn::Set(F32(), max);
  return sum_in_blocks(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    return exp_or_nan(hn::Sub(load_some(x + i, count, -kInfinity), vmax));
  });
}

// Elements of a row that stay in the first-level cache while they are looked at twice.
inline constexpr std::int64_t kRowBlock = 2048;

// Σ exp(x − max) over parts of a row that are seen one after the other.
struct RowExponentials {
  float max = -kInfinity;
  double sum = 0;  // NaN where x has a NaN or max is not finite

  void add(float part_max, double part_sum) {
    if (max == -kInfinity) {
      sum = part_sum;
      max = part_max;
    } else if (!(part_max <= max)) {
      sum = sum * std::exp(static_cast<double>(max) - static_cast<double>(part_max)) + part_sum;
      max = part_max;
    } else {
      sum += part_sum * std::exp(static_cast<double>(part_max) - static_cast<double>(max));
    }
  }
};

// Of a whole row, which is read from memory once. max is −∞ for a row that is −∞ throughout.
template <class T>
HWY_INLINE RowExponentials row_exponentials(const T* x, std::int64_t n) {
  RowExponentials row;
  for (std::int64_t i = 0; i < n; i += kRowBlock) {
    const std::int64_t count = std::min(kRowBlock, n - i);
    const float max = row_max(x + i, count);
    if (max == -kInfinity) continue;
    row.add(max, sum_of_exponentials(x + i, count, max));
  }
  return row;
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
