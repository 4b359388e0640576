#pragma once

#include <cstdint>

#include "backends/cpu/gemm.hpp"

namespace wick::cpu {

// Products in tiles of registers. The elements of one factor, "rows", are broadcast; the other one, "columns", is read in
// vectors, from strips that are packed first. Each sum is formed in an order that K alone decides: results depend
// neither on how a product is cut nor on the number of threads.

/// How far along K tiles reach at once: the rows of a tile and a strip of columns fill a first-level cache.
inline constexpr std::int64_t kTileDepth = 256;

/// Columns of a strip: `columns` rounded up to whole vectors of the instruction set in use.
std::int64_t packed_columns(std::int64_t columns);

/// Packs b [K,N] of any floating dtype into strips for add_tiles(): K · packed_columns(N) floats. K is at most kTileDepth.
void pack_columns(const Operand& b, std::int64_t K, std::int64_t N, float* strips);

/// Whether add_tiles() had better read b [K,N] from where it lies than from strips, for M rows of a.
bool takes_columns_as_they_lie(std::int64_t M, const Operand& b, std::int64_t N);

/// c [M,N], rows c_stride apart, = alpha · a b (+ c). a [M,K] of any floating dtype and any strides; b as pack_columns()
/// leaves it, or as it lies. With `accumulate` false c is not read.
struct TilesProduct {
  std::int64_t M, N, K;
  float alpha;
  bool accumulate;
  Operand a;
  const float* strips;  ///< null: `columns` are read as they lie
  Operand columns;
  float* c;
  std::int64_t c_stride;
};
void add_tiles(const TilesProduct& product);

/// out [N,M], rows out_stride apart, = in [M,N]ᵀ.
void transpose_floats(const float* in, std::int64_t in_stride, std::int64_t M, std::int64_t N,
                      float* out, std::int64_t out_stride);

/// c [M,N] = alpha · a bᵀ + beta · c with a [M,K] of any floating dtype and b [N,K]: dot products of rows, for a short N.
/// With beta = 0 c is not read.
struct DotsProduct {
  std::int64_t M, N, K;
  float alpha, beta;
  const void* a;
  DType a_dtype;
  std::int64_t a_stride;
  const float* b;
  std::int64_t b_stride;
  float* c;
  std::int64_t c_stride;
};
void multiply_dots(const DotsProduct& product);

}  // namespace wick::cpu
