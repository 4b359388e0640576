#pragma once

#include <cstdint>

#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick {
namespace mps {

/// Which norm a kernel computes: layer_norm subtracts the mean.
enum NormKind : uint32_t { kRmsNorm, kLayerNorm };

/// What of a norm's optional operands is given, as bits.
enum NormGiven : uint32_t { kGivenBias = 1, kGivenMean = 2, kGivenInverse = 4, kGivenWeight = 8 };

struct NormKargs {
  RowPlan plan;
  int64_t x_stride;  ///< from row to row
  float eps;
  int32_t unused;
};

struct NormSumsKargs {
  int64_t rows;
  int64_t columns;
  int64_t x_stride;
  int64_t rows_each;  ///< of a chunk
};

struct AddSumsKargs {
  int64_t chunks;
  int64_t columns;
};

}  // namespace mps
}  // namespace wick
