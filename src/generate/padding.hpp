#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "wick/tensor/tensor.hpp"

namespace wick::detail {

/// The position of a column in a row whose first token stands in column `first`.
inline std::int32_t position_of(std::int64_t column, std::int64_t first) {
  return static_cast<std::int32_t>(std::max<std::int64_t>(0, column - first));
}

/// [B,columns] bool: true from each row's first token on, up to column `end`.
inline Tensor mask_of_padding(const std::vector<std::int64_t>& padding, std::int64_t end,
                              std::int64_t columns, Device device) {
  std::vector<std::byte> values;
  for (const std::int64_t first : padding) {
    for (std::int64_t column = 0; column < columns; ++column) {
      values.push_back(std::byte{column >= first && column < end});
    }
  }
  const auto rows = static_cast<std::int64_t>(padding.size());
  return Tensor::from_bytes(values, DType::kBool, {rows, columns}, device);
}

}  // namespace wick::detail
