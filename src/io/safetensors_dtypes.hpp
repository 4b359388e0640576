#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "wick/layout/dtype.hpp"

namespace wick::detail {

/// A data type of the safetensors format.
struct SafetensorsDType {
  std::string_view word;
  std::uint64_t bits;          ///< of one element
  std::optional<DType> dtype;  ///< Wick's, where there is one
};

/// By its word; nullptr for an unknown one.
const SafetensorsDType* find_safetensors_dtype(std::string_view word);

/// The format's word for a dtype.
std::string_view safetensors_word(DType dtype);

/// The place of a dtype in the order of the format: a writer puts higher places first.
int safetensors_place(DType dtype);

}  // namespace wick::detail
