// Vector access to rows of f32, f16 and bf16, computing in f32. Compiled once per instruction set: include
// after hwy/foreach_target.h and hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_SIMD_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_SIMD_INL_HPP
#undef WICK_BACKENDS_CPU_SIMD_INL_HPP
#else
#define WICK_BACKENDS_CPU_SIMD_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "wick/base/float16.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using F32Vec = hn::Vec<F32>;

// Lanes of a vector of f32.
HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(F32())); }

// ---- Full vectors: p has at least lanes() elements, at any alignment of its type --------------------

HWY_INLINE F32Vec load(const float* p) { return hn::LoadU(F32(), p); }

HWY_INLINE F32Vec load(const BFloat16* p) {
  const hn::Rebind<std::uint16_t, F32> du16;
  const hn::Rebind<std::uint32_t, F32> du32;
  // SAFETY: BFloat16 is exactly one uint16_t.
  const auto bits = hn::LoadU(du16, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(du32, bits)));
}

// Highway emulates f16 conversions on old x86 without rounding, so those go through scalar code.
#undef WICK_HARDWARE_F16
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
#define WICK_HARDWARE_F16 0
#else
#define WICK_HARDWARE_F16 1
#endif

HWY_INLINE F32Vec load(const Half* p) {
#if WICK_HARDWARE_F16
  const hn::Rebind<hwy::float16_t, F32> df16;
  // SAFETY: Half and float16_t are both the 16 bits of an IEEE binary16.
  return hn::PromoteTo(F32(), hn::LoadU(df16, reinterpret_cast<const hwy::float16_t*>(p)));
#else
  HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)];
  for (std::int64_t i = 0; i < lanes(); ++i) buffer[i] = static_cast<float>(p[i]);
  return hn::Load(F32(), buffer);
#endif
}

HWY_INLINE void store(F32Vec v, float* p) { hn::StoreU(v, F32(), p); }

// Rounds to nearest, ties to even.
HWY_INLINE void store(F32Vec v, BFloat16* p) {
  const hn::Rebind<std::uint16_t, F32> du16;
  const hn::Rebind<std::uint32_t, F32> du32;
  const hn::Rebind<std::int32_t, F32> di32;
  const auto bits = hn::BitCast(du32, v);
  const auto lowest_kept = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1));
  const auto rounded = hn::Add(bits, hn::Add(lowest_kept, hn::Set(du32, 0x7FFF)));
  const auto quiet = hn::Or(bits, hn::Set(du32, 0x00400000));
  const auto is_nan = hn::RebindMask(du32, hn::IsNaN(v));
  const auto chosen = hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded));
  // SAFETY: BFloat16 is exactly one uint16_t.
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di32, chosen)), du16,
             reinterpret_cast<std::uint16_t*>(p));
}

HWY_INLINE void store(F32Vec v, Half* p) {
#if WICK_HARDWARE_F16
  const hn::Rebind<hwy::float16_t, F32> df16;
  // SAFETY: Half and float16_t are both the 16 bits of an IEEE binary16.
  hn::StoreU(hn::DemoteTo(df16, v), df16, reinterpret_cast<hwy::float16_t*>(p));
#else
  HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, F32(), buffer);
  for (std::int64_t i = 0; i < lanes(); ++i) p[i] = Half(buffer[i]);
#endif
}

// ---- Parts of vectors: exactly n < lanes() elements are touched -------------------------------------

// Masked access that touches nothing beyond the mask.
#undef WICK_MASKED_F32
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#define WICK_MASKED_F32 1
#else
#define WICK_MASKED_F32 0
#endif

// The lanes from n on hold `fill`.
template <class T>
HWY_INLINE F32Vec load_n(const T* p, std::int64_t n, float fill = 0.0F) {
  if constexpr (WICK_MASKED_F32 && std::is_same_v<T, float>) {
    const auto first = hn::FirstN(F32(), static_cast<std::size_t>(n));
    return hn::IfThenElse(first, hn::MaskedLoad(first, F32(), p), hn::Set(F32(), fill));
  } else {
    HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(hn::Set(F32(), fill), F32(), buffer);
    for (std::int64_t i = 0; i < n; ++i) buffer[i] = static_cast<float>(p[i]);
    return hn::Load(F32(), buffer);
  }
}

template <class T>
HWY_INLINE void store_n(F32Vec v, T* p, std::int64_t n) {
  if constexpr (WICK_MASKED_F32 && std::is_same_v<T, float>) {
    hn::BlendedStore(v, hn::FirstN(F32(), static_cast<std::size_t>(n)), F32(), p);
  } else {
    HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(v, F32(), buffer);
    for (std::int64_t i = 0; i < n; ++i) p[i] = static_cast<T>(buffer[i]);
  }
}

// ---- Whole rows -------------------------------------------------------------------------------------

// Calls body(i, count) for i = 0, lanes, 2·lanes, … with count lanes each, the last one maybe fewer: pass
// count on to load_some() and store_some(). Lambdas given here need HWY_ATTR.
template <class Body>
HWY_INLINE void for_each_vector(std::int64_t n, const Body& body) {
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + step <= n; i += step) body(i, step);
  if (i < n) body(i, n - i);
}

// Σ over all vectors of a row of n elements: add(sum, i, count) is sum plus the vector from i on, as in
// for_each_vector(). Four sums hide the latency of additions, and round a quarter as often what has been added up so far.
template <class Add>
HWY_INLINE F32Vec sum_vectors(std::int64_t n, const Add& add) {
  const std::int64_t step = lanes();
  auto s0 = hn::Zero(F32()), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    s0 = add(s0, i, step);
    s1 = add(s1, i + step, step);
    s2 = add(s2, i + 2 * step, step);
    s3 = add(s3, i + 3 * step, step);
  }
  for_each_vector(n - i,
                  [&](std::int64_t j, std::int64_t count) HWY_ATTR { s0 = add(s0, i + j, count); });
  return hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
}

template <class T>
HWY_INLINE F32Vec load_some(const T* p, std::int64_t count, float fill = 0.0F) {
  return count == lanes() ? load(p) : load_n(p, count, fill);
}

template <class T>
HWY_INLINE void store_some(F32Vec v, T* p, std::int64_t count) {
  if (count == lanes()) {
    store(v, p);
  } else {
    store_n(v, p, count);
  }
}

HWY_INLINE float sum_lanes(F32Vec v) { return hn::GetLane(hn::SumOfLanes(F32(), v)); }
HWY_INLINE float max_lanes(F32Vec v) { return hn::GetLane(hn::MaxOfLanes(F32(), v)); }

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
