#pragma once

#include <cstdint>

#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick {
namespace mps {

struct CrossEntropyKargs {
  RowPlan plan;
  int64_t stride;  ///< of the logits, from row to row
  int64_t ignore_index;
  int64_t first_row;
  float label_smoothing;
  int32_t has_weights;
  int32_t has_dloss;   ///< of the backward kernel
  int32_t has_factor;  ///< of the backward kernel
};

struct LossSumsKargs {
  int64_t rows;
  int32_t accumulate;
  int32_t has_inverse;
};

}  // namespace mps
}  // namespace wick
