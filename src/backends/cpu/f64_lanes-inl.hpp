// Adding up vectors of f32 in double: exact squares, no overflow, and sums that do not drift with
// their length. Compiled once per instruction set, like simd-inl.hpp.

#if defined(WICK_BACKENDS_CPU_F64_LANES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_F64_LANES_INL_HPP
#undef WICK_BACKENDS_CPU_F64_LANES_INL_HPP
#else
#define WICK_BACKENDS_CPU_F64_LANES_INL_HPP
#endif

#include <hwy/highway.h>

#include "backends/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

using F64 = hn::ScalableTag<double>;
using F64Vec = hn::Vec<F64>;

// The two halves of a vector; one lane alone has no upper half.
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE F64Vec lower_as_f64(F32Vec v) { return hn::PromoteTo(F64(), v); }
HWY_INLINE F64Vec upper_as_f64(F32Vec /*v*/) { return hn::Zero(F64()); }
#else
HWY_INLINE F64Vec lower_as_f64(F32Vec v) {
  return hn::PromoteTo(F64(), hn::LowerHalf(hn::Rebind<float, F64>(), v));
}

HWY_INLINE F64Vec upper_as_f64(F32Vec v) {
  return hn::PromoteTo(F64(), hn::UpperHalf(hn::Rebind<float, F64>(), v));
}
#endif

// Σ x[i] for i < n.
template <class T>
double sum_of(const T* x, std::int64_t n) {
  auto lower = hn::Zero(F64());
  auto upper = hn::Zero(F64());
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto v = load_some(x + i, count);
    lower = hn::Add(lower, lower_as_f64(v));
    upper = hn::Add(upper, upper_as_f64(v));
  });
  return hn::GetLane(hn::SumOfLanes(F64(), hn::Add(lower, upper)));
}

// Σ x[i]² for i < n.
template <class T>
double sum_of_squares(const T* x, std::int64_t n) {
  auto lower = hn::Zero(F64());
  auto upper = hn::Zero(F64());
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto v = load_some(x + i, count);
    const auto low = lower_as_f64(v);
    const auto high = upper_as_f64(v);
    lower = hn::MulAdd(low, low, lower);
    upper = hn::MulAdd(high, high, upper);
  });
  return hn::GetLane(hn::SumOfLanes(F64(), hn::Add(lower, upper)));
}

// totals[i] += x[i] for i < n.
template <class T>
void add_to_totals(const T* x, double* totals, std::int64_t n) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const std::int64_t half = lanes() / 2;
  for (; i + 2 * half <= n; i += 2 * half) {
    const auto v = load(x + i);
    double* const first = totals + i;
    double* const second = first + half;
    hn::StoreU(hn::Add(hn::LoadU(F64(), first), lower_as_f64(v)), F64(), first);
    hn::StoreU(hn::Add(hn::LoadU(F64(), second), upper_as_f64(v)), F64(), second);
  }
#endif
  for (; i < n; ++i) totals[i] += static_cast<double>(static_cast<float>(x[i]));
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
