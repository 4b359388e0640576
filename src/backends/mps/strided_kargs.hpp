#pragma once

#include <cstdint>

namespace wick {
namespace mps {

/// A nest of loops over the elements of N operands of one shape. Dimensions that are one in memory for every operand are
/// merged.
template <int N>
struct Loops {
  int32_t rank;
  int32_t unused;
  int64_t numel;
  int64_t sizes[6];
  int64_t strides[6][N];
};

}  // namespace mps
}  // namespace wick
