#pragma once

#include <cstdint>

namespace wick {
namespace mps {

/// How a kernel shares out rows: a row belongs to `simds` simdgroups of one threadgroup. With 1 a threadgroup has several
/// rows and nothing to wait for.
struct RowPlan {
  int64_t rows;
  int64_t columns;
  int32_t simds;
  int32_t unused;
};

}  // namespace mps
}  // namespace wick
