// The exponential function for vectors of f32. Compiled once per instruction set: include after hwy/foreach_target.h and
// hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_EXP_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_EXP_INL_HPP
#undef WICK_BACKENDS_CPU_EXP_INL_HPP
#else
#define WICK_BACKENDS_CPU_EXP_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "backends/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// Vectors of 8 or 16 lanes hold the powers 2^(i/lanes) themselves and choose among them by one instruction, which leaves
// so little of x that a polynomial of degree 3 is enough. On a Zen 4 an exponential is 12 instructions with a vector of 16
// lanes, 7 of them on the unit that multiplies; by a longer polynomial alone those are 11.
#undef WICK_EXP_BY_TABLE
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#define WICK_EXP_BY_TABLE 1
#else
#define WICK_EXP_BY_TABLE 0
#endif

// 0 where x is so low that e^x would be subnormal, else y; NaN in x is not low. Written as a choice of what stays: as
// one of what goes, GCC makes it an instruction of its own, on the unit that multiplies.
HWY_INLINE F32Vec zero_if_low(F32Vec x, F32Vec y) {
  return hn::IfThenElseZero(hn::Not(hn::Lt(x, hn::Set(F32(), -87.33F))), y);
}

#if WICK_EXP_BY_TABLE

inline constexpr std::size_t kRoots = hn::MaxLanes(F32());
static_assert(kRoots == 8 || kRoots == 16);
inline constexpr int kRootShift = kRoots == 16 ? 19 : 20;  // behind its number lies the exponent

// The bits of 2^(i/kRoots), less what i itself is when it is shifted to where the exponent begins.
struct alignas(64) RootBits {
  std::uint32_t of[kRoots];
};
constexpr RootBits make_root_bits() {
  constexpr std::uint32_t kSixteenths[16] = {0x3F800000, 0x3F7DAAC3, 0x3F7B95C2, 0x3F79C3D3,
                                             0x3F7837F0, 0x3F76F532, 0x3F75FED7, 0x3F75583F,
                                             0x3F7504F3, 0x3F7508A4, 0x3F75672A, 0x3F76248C,
                                             0x3F7744FD, 0x3F78CCDF, 0x3F7AC0C7, 0x3F7D257D};
  RootBits bits{};
  for (std::size_t i = 0; i < kRoots; ++i) bits.of[i] = kSixteenths[i * (16 / kRoots)];
  return bits;
}
inline constexpr RootBits kRootBits = make_root_bits();

// e^x for x <= 88; 0 where it would be subnormal; NaN for NaN; 1 for 0. The relative error is at most 1.2e-7 and 2.8e-9 for
// each unit of |x|: the latter is what ln 2 in one piece costs. The roundings of x itself, mostly a difference, reach
// more than ten times that. A softmax spends its time here.
HWY_INLINE F32Vec exp_or_nan(F32Vec x) {
  const F32 d;
  const hn::RebindToUnsigned<F32> bits;
  constexpr float kPerUnit = kRoots;
  // Adding 1.5 · 2^23 leaves the nearest integer in the lowest bits: x = n ln 2 / kRoots + r with |r| <= ln 2 / 2 kRoots.
  const auto magic = hn::Set(d, 12582912.0F);
  const auto shifted = hn::MulAdd(x, hn::Set(d, kPerUnit * 1.44269504F), magic);
  const auto n = hn::Sub(shifted, magic);
  const auto r = hn::NegMulAdd(n, hn::Set(d, 0.693147182F / kPerUnit), x);
  // (e^r − 1) / r: fits whose errors are 1.6e-9 and 2.6e-8 of e^r.
  auto p = hn::Set(d, kRoots == 16 ? 0.166668713F : 0.166675702F);
  p = hn::MulAdd(p, r, hn::Set(d, kRoots == 16 ? 0.500016212F : 0.50006479F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  const auto index = hn::BitCast(bits, shifted);
#if HWY_IS_DEBUG_BUILD  // Highway's checks want what the instruction does by itself
  const auto place = hn::IndicesFromVec(d, hn::And(index, hn::Set(bits, kRoots - 1)));
#else
  const auto place = hn::IndicesFromVec(d, index);
#endif
  const auto root = hn::TableLookupLanes(hn::BitCast(d, hn::Load(bits, kRootBits.of)), place);
  const auto exponent = hn::ShiftLeft<kRootShift>(index);
  const auto power = hn::BitCast(d, hn::Add(exponent, hn::BitCast(bits, root)));
  return zero_if_low(x, hn::MulAdd(p, hn::Mul(power, r), power));
}

#else

// As above, within two units in the last place throughout.
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
  return zero_if_low(x, hn::MulAdd(p, scale, scale));
}

#endif

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
