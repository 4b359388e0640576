// The exponential function for vectors of f32. Compiled once per instruction set: include after hwy/foreach_target.h and
// hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_EXP_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_EXP_INL_HPP
#undef WICK_BACKENDS_CPU_EXP_INL_HPP
#else
#define WICK_BACKENDS_CPU_EXP_INL_HPP
#endif

#include <hwy/highway.h>

#include "backends/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// e^x for x <= 88, within two units in the last place; 0 where it would be subnormal; NaN for NaN. A softmax spends its
// time here, and Highway's Exp, which serves every x, takes more than twice the instructions.
HWY_INLINE F32Vec exp_or_nan(F32Vec x) {
  const F32 d;
  const hn::RebindToUnsigned<F32> bits;
  // Adding 1.5 · 2^23 leaves the nearest integer in the lowest bits: x = n ln 2 + r with |r| <= ln 2 / 2.
  const auto magic = hn::Set(d, 12582912.0F);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504F), magic);
  const auto n = hn::Sub(shifted, magic);
  auto r = hn::NegMulAdd(n, hn::Set(d, 0.693145751953125F), x);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6F), r);
  // (e^r − 1 − r) / r²: a fit whose error is 3e-9 of e^r.
  auto p = hn::Set(d, 0.00138145399F);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836874538F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.0416683908F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665204F));
  p = hn::MulAdd(p, r, hn::Set(d, 0.499999934F));
  p = hn::MulAdd(hn::Mul(r, r), p, r);
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(bits, shifted));
  const auto scale = hn::BitCast(d, hn::Add(exponent, hn::Set(bits, 0x3F800000U)));
  const auto y = hn::MulAdd(p, scale, scale);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.33F)), y);
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
