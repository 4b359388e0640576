#pragma once

#include <cstdint>

#include "backends/cpu/bf16_products.hpp"

// What AMX and AVX-512 share: both add products of pairs along K to 16 sums of f32 at a time.

namespace wick::cpu::bf16 {

inline constexpr std::int64_t kLanes = 16;         // sums of a vector or of a row of a tile
inline constexpr std::int64_t kStep = 2 * kLanes;  // along K: 64 bytes
inline constexpr std::int64_t kStripColumns = 2 * kLanes;
// Rows of packed a are so far apart: no power of two, so that they fall into different sets of a cache.
inline constexpr std::int64_t kRowStride = kBf16Depth + kStep;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t step) {
  return (n + step - 1) / step * step;
}

inline const std::uint16_t* elements(const Operand& x) {
  return static_cast<const std::uint16_t*>(x.data);
}

/// to[m][k] = a[m, k], rows kRowStride apart, with zeros up to whole steps along K and up to a multiple of kLanes rows.
/// `first` is the first of the `rows` of a.
void pack_rows(const Operand& a, const std::uint16_t* first, std::int64_t rows, std::int64_t K,
               std::uint16_t* to);

/// Whether the processor has it and the system lets this process use it.
bool has_amx();
bool has_avx512();

void add_by_amx(const Bf16Product& product);
void add_by_avx512(const Bf16Product& product);

}  // namespace wick::cpu::bf16
