#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wick/base/float16.hpp"

namespace wick {

/// Element types of a tensor.
enum class DType : std::uint8_t { kF32, kF16, kBF16, kI32, kI64, kU8, kBool };

/// Every dtype, in the order of the enumeration.
inline constexpr DType kAllDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI32,
                                       DType::kI64, DType::kU8,  DType::kBool};

/// The short name used in messages, documentation and file names: "f32", "bf16", "i64", …
std::string_view to_string(DType dtype) noexcept;

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU8:
    case DType::kBool:
      return 1;
  }
  return 0;
}

/// True for f32, f16 and bf16.
constexpr bool is_floating(DType dtype) noexcept {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// True for the floating dtypes of 16 bits: f16 and bf16.
constexpr bool is_half(DType dtype) noexcept {
  return dtype == DType::kF16 || dtype == DType::kBF16;
}

/// Maps a C++ element type to its DType. A header-only trait, because templates of Tensor need it.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::kBool;
};

}  // namespace wick
