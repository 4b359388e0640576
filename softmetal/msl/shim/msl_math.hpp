#pragma once

#include <cmath>

#include "msl_types.hpp"

// Functions of <metal_math>, <metal_common>, <metal_integer> and <metal_relational>: of scalars in float, of vectors
// element by element.

namespace metal {

#define MSL_UNARY(name, expression)                              \
  template <class T>                                             \
  inline T name(T x) {                                           \
    if constexpr (msl::Vector<T>) {                              \
      T r;                                                       \
      for (unsigned i = 0; i < __builtin_vectorelements(T); ++i) \
        r[i] = name(msl::Element<T>(x[i]));                      \
      return r;                                                  \
    } else {                                                     \
      return static_cast<T>(expression);                         \
    }                                                            \
  }
#define MSL_FLOAT_UNARY(name, call) MSL_UNARY(name, call(static_cast<float>(x)))
MSL_FLOAT_UNARY(exp, std::exp);
MSL_FLOAT_UNARY(exp2, std::exp2);
MSL_FLOAT_UNARY(log, std::log);
MSL_FLOAT_UNARY(log2, std::log2);
MSL_FLOAT_UNARY(log10, std::log10);
MSL_FLOAT_UNARY(sqrt, std::sqrt);
MSL_UNARY(rsqrt, 1.0f / std::sqrt(static_cast<float>(x)));
MSL_FLOAT_UNARY(tanh, std::tanh);
MSL_FLOAT_UNARY(sinh, std::sinh);
MSL_FLOAT_UNARY(cosh, std::cosh);
MSL_FLOAT_UNARY(sin, std::sin);
MSL_FLOAT_UNARY(cos, std::cos);
MSL_FLOAT_UNARY(tan, std::tan);
MSL_FLOAT_UNARY(atan, std::atan);
MSL_FLOAT_UNARY(fabs, std::fabs);
MSL_FLOAT_UNARY(floor, std::floor);
MSL_FLOAT_UNARY(ceil, std::ceil);
MSL_FLOAT_UNARY(trunc, std::trunc);
MSL_FLOAT_UNARY(rint, std::nearbyint);
MSL_FLOAT_UNARY(round, std::round);
MSL_UNARY(fract, static_cast<float>(x) - std::floor(static_cast<float>(x)));
MSL_UNARY(sign, static_cast<float>(x) > 0 ? 1.0f : static_cast<float>(x) < 0 ? -1.0f : 0.0f);
MSL_UNARY(saturate, std::fmin(std::fmax(static_cast<float>(x), 0.0f), 1.0f));
MSL_UNARY(abs, x < T(0) ? -x : x);
MSL_UNARY(popcount, __builtin_popcountll(static_cast<std::make_unsigned_t<T>>(x)));
MSL_UNARY(clz, x == T(0) ? int(sizeof(T) * 8)
                         : __builtin_clzll(static_cast<std::make_unsigned_t<T>>(x)) -
                               int(64 - sizeof(T) * 8));
#undef MSL_FLOAT_UNARY
#undef MSL_UNARY

#define MSL_BINARY(name, expression)                               \
  template <class T>                                               \
  inline T name(T x, std::type_identity_t<T> y) {                  \
    if constexpr (msl::Vector<T>) {                                \
      T r;                                                         \
      for (unsigned i = 0; i < __builtin_vectorelements(T); ++i)   \
        r[i] = name(msl::Element<T>(x[i]), msl::Element<T>(y[i])); \
      return r;                                                    \
    } else {                                                       \
      return static_cast<T>(expression);                           \
    }                                                              \
  }
// A NaN gives way to a number, as fmin and fmax have it.
MSL_BINARY(max, (msl::kFloating<T> && x != x) || x < y ? y : x);
MSL_BINARY(min, (msl::kFloating<T> && x != x) || y < x ? y : x);
MSL_BINARY(fmax, std::fmax(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(fmin, std::fmin(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(pow, std::pow(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(powr, std::pow(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(fmod, std::fmod(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(atan2, std::atan2(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(copysign, std::copysign(static_cast<float>(x), static_cast<float>(y)));
MSL_BINARY(step, static_cast<float>(y) < static_cast<float>(x) ? 0.0f : 1.0f);
#undef MSL_BINARY

template <class T>
inline T mulhi(T x, std::type_identity_t<T> y) {
  static_assert(sizeof(T) == 4);
  using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
  return static_cast<T>((static_cast<Wide>(x) * static_cast<Wide>(y)) >> 32);
}
template <class T>
inline T clamp(T x, std::type_identity_t<T> low, std::type_identity_t<T> high) {
  return min(max(x, low), high);
}
template <class T>
inline T fma(T x, std::type_identity_t<T> y, std::type_identity_t<T> z) {
  if constexpr (msl::Vector<T>) {
    T r;
    for (unsigned i = 0; i < __builtin_vectorelements(T); ++i) {
      r[i] = fma(msl::Element<T>(x[i]), msl::Element<T>(y[i]), msl::Element<T>(z[i]));
    }
    return r;
  } else {
    return static_cast<T>(
        std::fma(static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)));
  }
}
template <class T>
inline T mix(T x, std::type_identity_t<T> y, std::type_identity_t<T> a) {
  return x + (y - x) * a;
}
template <class T>
inline auto dot(T x, std::type_identity_t<T> y) {
  msl::Element<T> sum = x[0] * y[0];
  for (unsigned i = 1; i < __builtin_vectorelements(T); ++i) sum += x[i] * y[i];
  return sum;
}
template <class T>
inline T select(T x, std::type_identity_t<T> y, bool choose_y) {
  return choose_y ? y : x;
}
template <class T>
inline bool isnan(T x) {
  return std::isnan(static_cast<float>(x));
}
template <class T>
inline bool isinf(T x) {
  return std::isinf(static_cast<float>(x));
}
template <class T>
inline bool isfinite(T x) {
  return std::isfinite(static_cast<float>(x));
}

namespace precise {
using metal::cos, metal::exp, metal::exp2, metal::log, metal::log2, metal::pow, metal::rsqrt,
    metal::sin, metal::sqrt, metal::tanh;
}
namespace fast {
using metal::cos, metal::exp, metal::exp2, metal::log, metal::log2, metal::pow, metal::rsqrt,
    metal::sin, metal::sqrt, metal::tanh;
}

template <class T>
struct numeric_limits;
template <>
struct numeric_limits<float> {
  static constexpr float infinity() { return __builtin_inff(); }
  static constexpr float max() { return __FLT_MAX__; }
  static constexpr float lowest() { return -__FLT_MAX__; }
  static constexpr float min() { return __FLT_MIN__; }
  static constexpr float epsilon() { return __FLT_EPSILON__; }
  static constexpr float quiet_NaN() { return __builtin_nanf(""); }
};
template <>
struct numeric_limits<half> {
  static constexpr half infinity() { return half(__builtin_inff()); }
  static constexpr half max() { return half(65504.0f); }
  static constexpr half lowest() { return half(-65504.0f); }
};

}  // namespace metal
