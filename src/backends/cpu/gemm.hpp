#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/thread_pool.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cpu {

/// A part of a matrix as f32: data[i * stride + j] is element (row + i, column + j) of the matrix.
struct Tile {
  float* data;
  std::int64_t stride;
  std::int64_t row, column;
  std::int64_t rows, columns;
};

/// Changes a tile in place. Tiles come from several threads, in any order and cut, so that the
/// change of an element may depend on its value and its place in the matrix only.
using TileFunction = detail::FunctionRef<void(const Tile&)>;

/// A matrix that is read: element (i, j) of the g-th one lies at
/// data[g * batch_stride + i * row_stride + j * column_stride]. Any floating dtype and any strides.
struct Operand {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
  std::int64_t batch_stride = 0;
  /// Applied to the matrix before it is used, or null. Needs column_stride = 1.
  const TileFunction* map = nullptr;
};

/// alpha · a b with a [M,K] and b [K,N]. With alpha = 0 or K = 0 neither a nor b is read.
struct Term {
  Operand a, b;
  std::int64_t K = 0;
  float alpha = 1;
  /// Applied to the sum of the terms up to this one, or null; left out together with the term. Needs
  /// beta = 0.
  const TileFunction* map_sum = nullptr;
};

/// The matrix that is written: element (i, j) of the g-th one lies at
/// data[g * batch_stride + i * row_stride + j]. Any floating dtype.
struct Result {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t batch_stride = 0;
};

/// c = Σ terms + beta · c for G matrices c [M,N]. With beta = 0 c is never read.
struct Product {
  std::int64_t G = 1;
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::span<const Term> terms;
  Result c;
  float beta = 0;
};

/// What multiplies the blocks of a product: tiles of registers, AMX or AVX-512 BF16 where both factors are bf16 (else tiles),
/// sgemm() of a library, the one of these that was measured to be faster for the shape, or plain loops. A few rows times a matrix take
/// the plain loops in each: they read the matrix once and convert nothing ahead. kDouble: all sums are double, as those of small f32
/// products are by shape.
enum class GemmVariant { kByShape, kTiles, kAmx, kAvx512Bf16, kLibrary, kPlain, kDouble };

/// The names of the variants that this machine has, as those of "matmul", the best first.
std::span<const std::string_view> gemm_variants();

/// The variant of "matmul" that settings force, else the best one: for kernels made of products.
GemmVariant gemm_variant();

/// Computes `product`. Sums are f32, or double, and each element of c is rounded once. The scratch of a thread
/// stays below 2 MiB, whatever the sizes. Each block of c is computed by one thread and each element is
/// summed in an order that its block does not change, so that the result does not depend on the number of threads.
void gemm(Stream& stream, const Product& product, GemmVariant variant);

}  // namespace wick::cpu
