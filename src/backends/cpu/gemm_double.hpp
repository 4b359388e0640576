#pragma once

#include <cstdint>

#include "backends/cpu/gemm.hpp"

namespace wick::cpu {

/// Whether a product of f32 is so small that sums in double cost it a few microseconds: its matrices have at most 32,768 elements
/// each and its terms 2²⁰ multiplications. Up to four rows are not, since reading b is what they cost.
bool is_small_for_double(const Product& product);

/// As gemm(), with sums in double that are rounded once, where they are stored (and where a term's map_sum reads them). Takes every
/// product.
void multiply_in_double(Stream& stream, const Product& product);

/// sums += a b: a [rows,K], its rows a_stride apart, b [K,columns] and sums dense, columns a multiple of kDoubleColumns.
struct DoubleProduct {
  std::int64_t rows, columns, K;
  const double* a;
  std::int64_t a_stride;
  const double* b;
  double* sums;
};
inline constexpr std::int64_t kDoubleColumns = 16;  ///< two of the widest vectors
/// The columns of sums that have room for so many.
constexpr std::int64_t columns_in_double(std::int64_t columns) {
  return (columns + kDoubleColumns - 1) / kDoubleColumns * kDoubleColumns;
}
void add_in_double(const DoubleProduct& product);

}  // namespace wick::cpu
