#pragma once

#include <cstdint>

namespace wick {
namespace mps {

struct SelectKargs {
  int64_t D, K;  ///< of a row, to choose
  int64_t row_stride, column_stride;
  int32_t has_values;
  int32_t unused;
};

struct ScatterKargs {
  int64_t K, D;
};

}  // namespace mps
}  // namespace wick
