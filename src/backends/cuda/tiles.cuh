#pragma once

#include "backends/cuda/rows.cuh"

// Element-wise kernels over the rows of a matrix; a dense tensor is one row. A block has a tile: part of one
// row, a few packs a thread, all of whose loads are on their way before the first is used.

namespace wick::cuda {

inline constexpr int kTileThreads = 256;

/// kPacks of 16 bytes for each of a thread's operands: in all about 64 bytes hide the memory's latency.
template <class T, int kVec, int kPacks = 4>
struct Tile {
  static constexpr std::int64_t kColumns = std::int64_t{kTileThreads} * kPacks * kVec;

  std::int64_t row;
  std::int64_t begin;  ///< column of this thread's first pack
  std::int64_t D;

  __device__ __forceinline__ explicit Tile(std::int64_t row_length) : D(row_length) {
    const auto tiles = static_cast<unsigned>((row_length + kColumns - 1) / kColumns);
    row = blockIdx.x / tiles;
    begin = blockIdx.x % tiles * kColumns + static_cast<std::int64_t>(threadIdx.x) * kVec;
  }

  __device__ __forceinline__ std::int64_t column(int i) const {
    return begin + static_cast<std::int64_t>(i) * kTileThreads * kVec;
  }
  __device__ __forceinline__ bool has(int i) const { return column(i) < D; }

  /// The packs of this thread; x is the row's first element.
  __device__ __forceinline__ void load(const T* x, Raw<kVec, T> (&packs)[kPacks]) const {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (has(i)) packs[i] = load_raw<kVec>(x + column(i));
    }
  }

  /// f(i, column) for the packs that the row has.
  template <class F>
  __device__ __forceinline__ void for_each(F&& f) const {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      if (has(i)) f(i, column(i));
    }
  }
};

/// The tiles of R rows of D elements.
template <class Tile>
dim3 tile_grid(std::int64_t R, std::int64_t D) {
  return dim3(static_cast<unsigned>(R * ceil_div(D, Tile::kColumns)));
}

}  // namespace wick::cuda
