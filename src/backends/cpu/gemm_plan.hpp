#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "backends/cpu/bf16_products.hpp"
#include "backends/cpu/gemm.hpp"

namespace wick::cpu {

/// What multiplies the blocks of a term.
enum class Way {
  kTiles,    ///< add_tiles()
  kBf16,     ///< add_bf16(): two matrices of bf16
  kDots,     ///< multiply_dots(): few columns, or few rows
  kLibrary,  ///< sgemm()
  kPlain,    ///< multiply_tile(): anything, and the best for a vector times a matrix
};

/// What is the same for all blocks of a term.
struct TermPlan {
  const Term* term;
  Operand a, b;  ///< their strides along an axis of one element made plain
  Way way = Way::kTiles;
  bool pack_a = true;  ///< converted into panels ahead of the product
  bool pack_b = true;
  std::int64_t depth;          ///< along K in one go
  std::int64_t strips_at = 0;  ///< where its strips of bf16 begin
};

/// Blocks of c.
struct Cut {
  std::int64_t rows, columns;
};

struct Plan {
  const Product& product;
  Bf16Unit unit;  ///< that multiplies the terms of bf16
  std::vector<TermPlan> terms;
  Cut cut{};
  std::int64_t rows_at_once = 0;  ///< of a block
  bool packs_once = false;        ///< strips of bf16 serve all rows of a block
  bool transposed = false;        ///< blocks are summed as [columns, rows]
  bool in_place = false;          ///< c is f32 and takes the sums itself
  std::int64_t grain = 1;         ///< blocks that are worth a thread
  /// Scratch of a thread, in elements.
  std::int64_t a_panel = 0, b_panel = 0, strips = 0, bf16_strips = 0, tile = 0;
};

/// Rows of c that are turned back at a time where sums are transposed.
inline constexpr std::int64_t kRowsTurnedBack = 16;

/// `threads` may share the work. Where it is spread by our own tiles, each element is summed in the same order for any
/// number of them; everything else is a function of the sizes alone.
Plan plan_product(const Product& product, GemmVariant variant, std::int64_t threads);

inline bool rows_contiguous(const Operand& x, std::int64_t columns) {
  return x.column_stride == 1 && x.row_stride >= columns;
}
inline bool columns_contiguous(const Operand& x, std::int64_t rows) {
  return x.row_stride == 1 && x.column_stride >= rows;
}

/// The same matrix read by columns.
inline Operand transposed_operand(Operand x) {
  std::swap(x.row_stride, x.column_stride);
  return x;
}

/// The strides along an axis of one element mean nothing; here they are chosen so that one of them is 1 and the other
/// reaches past the extent where that is possible.
Operand with_plain_strides(Operand x, std::int64_t rows, std::int64_t columns);

}  // namespace wick::cpu
