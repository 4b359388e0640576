#pragma once

#include <cstdint>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick::mps {

static_assert(sizeof(RowPlan) == 24);

/// The plan for a kernel that reads rows of `columns` elements.
inline RowPlan plan_rows(std::int64_t rows, std::int64_t columns) {
  // A row of 1,024 is 32 elements a lane: beyond it more simdgroups read faster than one.
  constexpr std::int64_t kMostOfOne = 1024;
  return {.rows = rows, .columns = columns, .simds = columns <= kMostOfOne ? 1 : 8, .unused = 0};
}

/// Runs the kernel for all rows of the plan.
inline void run_rows(Dispatch& dispatch, const RowPlan& plan) {
  constexpr std::int64_t kSimds = 4;  // of a threadgroup that has several rows
  const std::int64_t simds = plan.simds == 1 ? kSimds : plan.simds;
  const std::int64_t rows_each = simds / plan.simds;
  dispatch.groups({static_cast<std::uint64_t>(ceil_div(plan.rows, rows_each))},
                  {static_cast<std::uint64_t>(simds) * kSimdWidth});
}

}  // namespace wick::mps
