#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/gemm.hpp"

namespace wick::cpu {

// Products of bf16 matrices, summed in f32, by AMX or by AVX-512's instruction for bf16. One factor, "columns", is packed into
// strips of 32 in pairs along K; the rows of the other one are read as they lie or packed in passing. Subnormal numbers count
// as 0. Each sum is formed in the order of k, whatever the block: results depend neither on how a product is cut nor on the
// number of threads.

/// How far along K a product reaches at once: a strip of columns and the rows that meet it stay in a first-level cache.
inline constexpr std::int64_t kBf16Depth = 512;

/// What multiplies bf16. AMX does so 8 times as fast as AVX-512, which takes twice as many factors as it does in f32.
enum class Bf16Unit : std::uint8_t { kNone, kAvx512, kAmx };

/// What products of `variant` of "matmul" go through where both factors are bf16: none where the processor has none, the
/// system does not let this process use it, or a smaller instruction set was selected. Without a unit, none of the
/// functions below may be called.
Bf16Unit bf16_unit(GemmVariant variant);

/// Whether this machine has the unit, whatever was selected.
bool has_bf16_unit(Bf16Unit unit);

/// Elements of bf16 that pack_bf16_columns() writes.
std::int64_t bf16_strips(std::int64_t K, std::int64_t N);

/// Packs b [K,N] of bf16, whose rows or columns are contiguous, into strips. K is at most kBf16Depth.
void pack_bf16_columns(const Operand& b, std::int64_t K, std::int64_t N, BFloat16* strips);

/// Where strips of K rows have the pair (k, k + 1) of column n, counted in pairs; k is even. Pairs of neighbouring columns
/// follow each other up to a multiple of 16 columns.
constexpr std::int64_t bf16_pair(std::int64_t K, std::int64_t k, std::int64_t n) {
  constexpr std::int64_t kColumns = 16;
  const std::int64_t depth = (K + 31) / 32 * 32;
  return n / kColumns * kColumns * (depth / 2) + k / 2 * kColumns + n % kColumns;
}

/// c [M,N], rows c_stride apart, = alpha · a b (+ c). a [M,K] of bf16, whose rows or columns are contiguous; b as
/// pack_bf16_columns() leaves it; with `strips_low` b is the sum of both. With `accumulate` false c is not read.
struct Bf16Product {
  Bf16Unit unit;
  std::int64_t M, N, K;
  float alpha;
  bool accumulate;
  Operand a;
  const BFloat16* strips;
  const BFloat16* strips_low = nullptr;
  float* c;
  std::int64_t c_stride;
};
void add_bf16(const Bf16Product& product);

/// The two numbers of bf16 whose sum stands for one of f32 and keeps 17 bits of it: what it rounds to, and what the
/// difference rounds to.
enum class Bf16Part : std::uint8_t { kHigh, kLow };

/// out [rows, parts, columns] = those parts of factor · x [rows, columns].
void split_rows(const float* x, std::int64_t rows, std::int64_t columns, float factor,
                std::span<const Bf16Part> parts, BFloat16* out);

/// out [rows, columns], rows out_stride apart, = sums [rows, columns], rounded to nearest.
void round_rows(const float* sums, std::int64_t rows, std::int64_t columns, BFloat16* out,
                std::int64_t out_stride);

}  // namespace wick::cpu
