#pragma once

#include <cstdint>

#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick {
namespace mps {

struct SoftmaxKargs {
  RowPlan plan;
  int64_t x_stride;  ///< from row to row
};

struct DeadRowsKargs {
  RowPlan plan;
  int64_t x_stride;  ///< from row to row
  float value;       ///< of the result in such a row
  int32_t unused;
};

}  // namespace mps
}  // namespace wick
