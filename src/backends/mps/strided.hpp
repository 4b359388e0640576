#pragma once

#include <array>
#include <cstdint>

#include "backends/mps/strided_kargs.hpp"
#include "layout/tensor_view.hpp"

namespace wick::mps {

static_assert(kMaxRank == 6, "Loops has room for six dimensions");
static_assert(sizeof(Loops<3>) == 16 + 48 + 144);

/// Adds a dimension inside of those there are.
template <int N>
void add_inner(Loops<N>& loops, std::int64_t size, const std::array<std::int64_t, N>& steps) {
  loops.numel *= size;
  if (size == 1) return;
  bool merges = loops.rank > 0;
  for (int n = 0; merges && n < N; ++n) {
    merges = loops.strides[loops.rank - 1][n] == size * steps[n];
  }
  if (!merges) {
    ++loops.rank;
    loops.sizes[loops.rank - 1] = 1;
  }
  loops.sizes[loops.rank - 1] *= size;
  for (int n = 0; n < N; ++n) loops.strides[loops.rank - 1][n] = steps[n];
}

/// True when every operand is one dense row.
template <int N>
bool is_dense(const Loops<N>& loops) {
  if (loops.rank == 0) return true;
  if (loops.rank > 1) return false;
  for (int n = 0; n < N; ++n) {
    if (loops.strides[0][n] != 1) return false;
  }
  return true;
}

/// The loops over dimensions [begin, end) of views of one shape.
template <class... Views>
Loops<sizeof...(Views)> loops_over(int begin, int end, const Views&... views) {
  Loops<sizeof...(Views)> loops{.rank = 0, .unused = 0, .numel = 1, .sizes = {}, .strides = {}};
  const TensorView* const first = std::array<const TensorView*, sizeof...(Views)>{&views...}[0];
  for (int axis = begin; axis < end; ++axis) {
    add_inner<sizeof...(Views)>(loops, first->dim(axis), {views.stride(axis)...});
  }
  return loops;
}

template <class... Views>
Loops<sizeof...(Views)> loops_over_all(const Views&... views) {
  const TensorView* const first = std::array<const TensorView*, sizeof...(Views)>{&views...}[0];
  return loops_over(0, first->rank(), views...);
}

}  // namespace wick::mps
