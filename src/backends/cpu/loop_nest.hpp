#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>

#include "wick/layout/shape.hpp"

namespace wick::cpu {

/// One loop over N operands: its length, and each operand's step in elements.
template <std::size_t N>
struct LoopDim {
  std::int64_t size = 1;
  std::array<std::int64_t, N> strides{};
};

/// Nested loops over N operands of one shape. Dimensions of size 1 are left out, and neighbours
/// that every operand walks as one become one; there is always an innermost dimension.
template <std::size_t N>
class LoopNest {
 public:
  LoopNest() { dims_[0].strides.fill(1); }

  /// Puts `dim` inside those that are there.
  void add_inner(const LoopDim<N>& dim) {
    if (dim.size == 1) return;
    if (numel_ == 1) {
      dims_[0] = dim;
    } else if (continues(inner(), dim)) {
      dims_[rank_ - 1].size *= dim.size;
      dims_[rank_ - 1].strides = dim.strides;
    } else {
      dims_[rank_++] = dim;
    }
    numel_ *= dim.size;
  }

  std::size_t rank() const { return rank_; }
  std::int64_t numel() const { return numel_; }
  const LoopDim<N>& dim(std::size_t axis) const { return dims_[axis]; }
  const LoopDim<N>& inner() const { return dims_[rank_ - 1]; }

 private:
  static bool continues(const LoopDim<N>& outer, const LoopDim<N>& dim) {
    for (std::size_t k = 0; k < N; ++k) {
      if (outer.strides[k] != dim.strides[k] * dim.size) return false;
    }
    return true;
  }

  std::array<LoopDim<N>, kMaxRank> dims_{};
  std::size_t rank_ = 1;
  std::int64_t numel_ = 1;
};

/// `dims` as a nest in the order of memory: the longest steps of operand `by` outermost.
template <std::size_t N>
LoopNest<N> nest_in_memory_order(std::span<LoopDim<N>> dims, std::size_t by) {
  const auto step = [&](std::size_t i) { return std::abs(dims[i].strides[by]); };
  for (std::size_t i = 1; i < dims.size(); ++i) {
    for (std::size_t k = i; k > 0 && step(k - 1) < step(k); --k) std::swap(dims[k - 1], dims[k]);
  }
  LoopNest<N> nest;
  for (const LoopDim<N>& dim : dims) nest.add_inner(dim);
  return nest;
}

/// Where each operand stands, in elements from its first one.
template <std::size_t N>
using Offsets = std::array<std::int64_t, N>;

/// Walks positions [begin, end) of a nest in row-major order, one run along the innermost dimension
/// after the other: body(position, count, offsets of the run's first element).
template <std::size_t N, class Body>
void for_each_run(const LoopNest<N>& nest, std::int64_t begin, std::int64_t end, const Body& body) {
  if (begin >= end) return;
  std::array<std::int64_t, kMaxRank> index{};
  Offsets<N> row{};  // of the row's first element
  const std::size_t last = nest.rank() - 1;
  std::int64_t rest = begin / nest.inner().size;
  for (std::size_t axis = last; axis-- > 0;) {
    const LoopDim<N>& dim = nest.dim(axis);
    index[axis] = rest % dim.size;
    rest /= dim.size;
    for (std::size_t k = 0; k < N; ++k) row[k] += index[axis] * dim.strides[k];
  }
  std::int64_t column = begin % nest.inner().size;
  for (std::int64_t position = begin; position < end; column = 0) {
    const std::int64_t count = std::min(nest.inner().size - column, end - position);
    Offsets<N> start = row;
    for (std::size_t k = 0; k < N; ++k) start[k] += column * nest.inner().strides[k];
    body(position, count, start);
    position += count;
    for (std::size_t axis = last; axis-- > 0;) {  // the next row, carrying outwards
      const LoopDim<N>& dim = nest.dim(axis);
      for (std::size_t k = 0; k < N; ++k) row[k] += dim.strides[k];
      if (++index[axis] < dim.size) break;
      index[axis] = 0;
      for (std::size_t k = 0; k < N; ++k) row[k] -= dim.size * dim.strides[k];
    }
  }
}

}  // namespace wick::cpu
