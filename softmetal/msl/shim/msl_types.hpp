#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "msl_runtime.hpp"

// Address spaces, scalar and vector types of the Metal Shading Language.

// In the pass that checks, address spaces are distinct types: a wrong or missing one does not compile.
#if defined(MSL_ADDRESS_SPACES)
#define MSL_SPACE(n) __attribute__((address_space(n)))
#define MSL_FUNCTION_CONSTANT(type, name) static const type name = msl::rt::unknown<type>()
#else
#define MSL_SPACE(n)
#define MSL_FUNCTION_CONSTANT(type, name) static thread_local type name
#endif
#define device MSL_SPACE(1)
#define constant MSL_SPACE(2) const
#define thread
#define MSL_THREADGROUP MSL_SPACE(3)
#define MSL_BLOCK(id, bytes) ((MSL_THREADGROUP void*)msl::rt::threadgroup_block<id, bytes>())

// Rounding to bfloat, which compilers call but the run time of GCC before 13 does not have.
extern "C" __attribute__((weak, used, visibility("hidden"))) __bf16 __truncsfbf2(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  const std::uint32_t rounded = is_nan ? bits | 0x00400000u : bits + 0x7FFFu + (bits >> 16 & 1u);
  return __builtin_bit_cast(__bf16, static_cast<std::uint16_t>(rounded >> 16));
}

using half = _Float16;
using bfloat = __bf16;
using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;

#define MSL_VECTORS(T)                                \
  typedef T T##2 __attribute__((ext_vector_type(2))); \
  typedef T T##3 __attribute__((ext_vector_type(3))); \
  typedef T T##4 __attribute__((ext_vector_type(4)))
MSL_VECTORS(float);
MSL_VECTORS(half);
MSL_VECTORS(bfloat);
MSL_VECTORS(int);
MSL_VECTORS(uint);
MSL_VECTORS(short);
MSL_VECTORS(ushort);
MSL_VECTORS(char);
MSL_VECTORS(uchar);
MSL_VECTORS(long);
MSL_VECTORS(ulong);
#undef MSL_VECTORS

namespace msl {

template <class T>
inline constexpr bool kScalar =
    std::is_arithmetic_v<T> || std::is_same_v<T, half> || std::is_same_v<T, bfloat>;
template <class T>
inline constexpr bool kFloating =
    std::is_floating_point_v<T> || std::is_same_v<T, half> || std::is_same_v<T, bfloat>;
template <class T>
concept Vector = !kScalar<T> && requires(T v) { __builtin_vectorelements(T); };
template <class T>
struct ElementOf {
  using type = T;
};
template <class T, int N>
using VectorOf = T __attribute__((ext_vector_type(N)));
template <class T, int N>
struct ElementOf<VectorOf<T, N>> {
  using type = T;
};
template <class T>
using Element = typename ElementOf<std::remove_cv_t<T>>::type;

/// float4(1), float4(a, b, c, d), float4(half4), float4(float3, w).
template <class V, class... A>
inline V make_vector(A... arguments) {
  constexpr unsigned kLength = __builtin_vectorelements(V);
  V r;
  if constexpr (sizeof...(A) == 1) {
    const auto one = std::get<0>(std::tuple<A...>(arguments...));
    if constexpr (kScalar<std::remove_cv_t<decltype(one)>>) {
      for (unsigned i = 0; i < kLength; ++i) r[i] = one;
    } else {
      static_assert(__builtin_vectorelements(std::remove_cv_t<decltype(one)>) == kLength,
                    "a vector of another length");
      r = __builtin_convertvector(one, V);
    }
  } else {
    unsigned next = 0;
    const auto put = [&](auto x) {
      if constexpr (kScalar<decltype(x)>) {
        r[next++] = x;
      } else {
        for (unsigned i = 0; i < __builtin_vectorelements(decltype(x)); ++i) r[next++] = x[i];
      }
    };
    (put(arguments), ...);
  }
  return r;
}

}  // namespace msl

namespace metal {

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));

template <class D, class S>
inline D as_type(S value) {
  static_assert(sizeof(D) == sizeof(S), "as_type keeps the size");
  return __builtin_bit_cast(D, value);
}

#define MSL_PACKED(T, N)                       \
  struct packed_##T##N {                       \
    T e[N];                                    \
    operator T##N() const {                    \
      T##N r;                                  \
      for (int i = 0; i < N; ++i) r[i] = e[i]; \
      return r;                                \
    }                                          \
    T& operator[](int i) { return e[i]; }      \
    T operator[](int i) const { return e[i]; } \
  };
MSL_PACKED(float, 2)
MSL_PACKED(float, 3)
MSL_PACKED(float, 4)
MSL_PACKED(half, 4)
MSL_PACKED(uint, 3)
#undef MSL_PACKED

}  // namespace metal
