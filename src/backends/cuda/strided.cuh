#pragma once

#include <array>
#include <cstdint>

#include "layout/tensor_view.hpp"

namespace wick::cuda {

/// A nest of loops over the elements of N operands of one shape, as kernels take it: by value. Dimensions that
/// are one in memory for every operand are merged.
template <int N>
struct Loops {
  int rank = 0;
  std::int64_t numel = 1;
  std::int64_t sizes[kMaxRank] = {};
  std::int64_t strides[kMaxRank][N] = {};

  /// True when every operand is one dense row.
  bool is_dense() const {
    if (rank == 0) return true;
    if (rank > 1) return false;
    for (int n = 0; n < N; ++n) {
      if (strides[0][n] != 1) return false;
    }
    return true;
  }

  /// Adds a dimension inside of those there are.
  void add_inner(std::int64_t size, const std::array<std::int64_t, N>& steps) {
    numel *= size;
    if (size == 1) return;
    bool merges = rank > 0;
    for (int n = 0; merges && n < N; ++n) merges = strides[rank - 1][n] == size * steps[n];
    if (!merges) {
      ++rank;
      sizes[rank - 1] = 1;
    }
    sizes[rank - 1] *= size;
    for (int n = 0; n < N; ++n) strides[rank - 1][n] = steps[n];
  }

  /// The elements' offsets of the `index`-th iteration.
  __device__ void offsets(std::int64_t index, std::int64_t (&found)[N]) const {
#pragma unroll
    for (int n = 0; n < N; ++n) found[n] = 0;
    for (int d = rank - 1; d > 0; --d) {
      std::int64_t position;
      if (index <= 0xFFFFFFFFLL &&
          sizes[d] <= 0xFFFFFFFFLL) {  // the division is several times faster
        const auto small = static_cast<std::uint32_t>(index);
        const auto size = static_cast<std::uint32_t>(sizes[d]);
        position = small % size;
        index = small / size;
      } else {
        position = index % sizes[d];
        index /= sizes[d];
      }
#pragma unroll
      for (int n = 0; n < N; ++n) found[n] += position * strides[d][n];
    }
#pragma unroll
    for (int n = 0; n < N; ++n) found[n] += index * strides[0][n];
  }
};

/// The loops over dimensions [begin, end) of views of one shape.
template <class... Views>
Loops<sizeof...(Views)> loops_over(int begin, int end, const Views&... views) {
  Loops<sizeof...(Views)> loops;
  const TensorView* const first = std::array<const TensorView*, sizeof...(Views)>{&views...}[0];
  for (int axis = begin; axis < end; ++axis) {
    loops.add_inner(first->dim(axis), {views.stride(axis)...});
  }
  return loops;
}

template <class... Views>
Loops<sizeof...(Views)> loops_over_all(const Views&... views) {
  const TensorView* const first = std::array<const TensorView*, sizeof...(Views)>{&views...}[0];
  return loops_over(0, first->rank(), views...);
}

}  // namespace wick::cuda
