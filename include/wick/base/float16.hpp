#pragma once

#include <bit>
#include <cstdint>

namespace wick {

/// IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits. Storage only; arithmetic is in float.
struct Half {
  std::uint16_t bits = 0;

  constexpr Half() = default;
  /// Rounds to nearest, ties to even; overflow gives infinity, NaN stays NaN.
  constexpr explicit Half(float value);
  /// Exact.
  constexpr explicit operator float() const;
};

/// bfloat16: the upper half of a binary32. Storage only; arithmetic is in float.
struct BFloat16 {
  std::uint16_t bits = 0;

  constexpr BFloat16() = default;
  /// Rounds to nearest, ties to even; NaN stays a quiet NaN.
  constexpr explicit BFloat16(float value);
  /// Exact.
  constexpr explicit operator float() const;
};

constexpr BFloat16::BFloat16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const bool is_nan = (u & 0x7FFFFFFFu) > 0x7F800000u;
  const std::uint32_t rounded = u + 0x7FFFu + ((u >> 16) & 1u);
  bits = static_cast<std::uint16_t>(is_nan ? ((u >> 16) | 0x0040u) : (rounded >> 16));
}

constexpr BFloat16::operator float() const {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

constexpr Half::Half(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const auto sign = (u >> 16) & 0x8000u;
  const std::uint32_t magnitude = u & 0x7FFFFFFFu;
  std::uint32_t h = 0;
  if (magnitude > 0x7F800000u) {
    h = 0x7E00u | ((magnitude >> 13) & 0x03FFu);
  } else if (magnitude >= 0x477FF000u) {  // 65520 and above round to infinity
    h = 0x7C00u;
  } else if (magnitude >=
             0x38800000u) {  // normal: rebias the exponent by 112 and round 13 bits away
    const std::uint32_t rebiased = magnitude - (112u << 23);
    h = (rebiased + 0x0FFFu + ((rebiased >> 13) & 1u)) >> 13;
  } else if (magnitude > 0x33000000u) {  // subnormal: above half of the smallest one
    const std::uint32_t shift = 126u - (magnitude >> 23);
    const std::uint32_t fraction = (magnitude & 0x007FFFFFu) | 0x00800000u;
    const std::uint32_t kept = fraction >> shift;
    const std::uint32_t rest = fraction & ((1u << shift) - 1u);
    const std::uint32_t half = 1u << (shift - 1u);
    h = kept + ((rest > half || (rest == half && (kept & 1u) != 0u)) ? 1u : 0u);
  }
  bits = static_cast<std::uint16_t>(sign | h);
}

constexpr Half::operator float() const {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  const std::uint32_t fraction = bits & 0x03FFu;
  if (exponent == 0x1Fu) {
    return std::bit_cast<float>(sign | 0x7F800000u | (fraction << 13));
  }
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
  }
  // Subnormal: fraction * 2^-24 is exact in float.
  const float value = static_cast<float>(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

}  // namespace wick
