#pragma once

#include <cstdint>

#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick {
namespace mps {

struct SoftmaxKargs {
  RowPlan plan;
  int64_t x_stride;  ///< from row to row
};

}  // namespace mps
}  // namespace wick
