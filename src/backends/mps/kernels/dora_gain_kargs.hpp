#pragma once

#include <cstdint>

#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick {
namespace mps {

struct DoraGainKargs {
  RowPlan plan;
  int64_t rows;      ///< of w
  int64_t w_stride;  ///< from row to row
  int64_t rank;
  float scale;
  int32_t wants_norm;
};

struct DoraGainBackwardKargs {
  int64_t numel;
};

}  // namespace mps
}  // namespace wick
