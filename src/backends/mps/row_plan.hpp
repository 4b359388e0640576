#pragma once

#include <cstdint>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/rows_kargs.hpp"

namespace wick::mps {

static_assert(sizeof(RowPlan) == 24);

/// What a thread keeps of a row, the function constant kHeld of rows.metal: registers for a few hundred columns a simdgroup.
inline constexpr std::int64_t kMostHeld = 16;

/// The plan for a kernel that reads rows of `columns` elements: as many simdgroups as can keep one, at most 8.
inline RowPlan plan_rows(std::int64_t rows, std::int64_t columns) {
  std::int32_t simds = 1;
  while (simds < 8 && columns > simds * kSimdWidth * kMostHeld) simds *= 2;
  return {.rows = rows, .columns = columns, .simds = simds, .unused = 0};
}

/// How many elements each thread keeps, as a few kinds of pipelines have it; 0 where the row is too long.
inline std::uint32_t held_elements(const RowPlan& plan) {
  const std::int64_t each = ceil_div(plan.columns, std::int64_t{plan.simds} * kSimdWidth);
  if (each > kMostHeld) return 0;
  return each <= 4 ? 4 : each <= 8 ? 8 : kMostHeld;
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
