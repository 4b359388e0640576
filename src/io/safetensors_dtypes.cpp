#include "io/safetensors_dtypes.hpp"

#include <algorithm>
#include <array>

#include "base/check.hpp"

namespace wick::detail {

namespace {

// In the order of the format, by which its own writer sorts.
constexpr std::array<SafetensorsDType, 22> kDTypes{{
    {"BOOL", 8, DType::kBool},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"U8", 8, DType::kU8},
    {"I8", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"I32", 32, DType::kI32},
    {"U32", 32, {}},
    {"F32", 32, DType::kF32},
    {"C64", 64, {}},
    {"F64", 64, {}},
    {"I64", 64, DType::kI64},
    {"U64", 64, {}},
}};

const SafetensorsDType* find(DType dtype) {
  const auto* found = std::find_if(kDTypes.begin(), kDTypes.end(),
                                   [&](const SafetensorsDType& t) { return t.dtype == dtype; });
  check(found != kDTypes.end(), "a dtype has no word in the safetensors format");
  return found;
}

}  // namespace

const SafetensorsDType* find_safetensors_dtype(std::string_view word) {
  const auto* found = std::find_if(kDTypes.begin(), kDTypes.end(),
                                   [&](const SafetensorsDType& t) { return t.word == word; });
  return found == kDTypes.end() ? nullptr : found;
}

std::string_view safetensors_word(DType dtype) { return find(dtype)->word; }

int safetensors_place(DType dtype) { return static_cast<int>(find(dtype) - kDTypes.begin()); }

}  // namespace wick::detail
