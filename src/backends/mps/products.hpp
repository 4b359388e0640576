#pragma once

#include <cstdint>
#include <string_view>

#include "backends/mps/way_table.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

/// A matrix of each of a batch, in elements.
struct Matrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
  std::int64_t batch_stride = 0;  ///< 0: the same for all of the batch
};

/// c = alpha · a b + beta · c + bias + scale · p s for each of G matrices: a [M,K], b [K,N], c [M,N] with neighbours in a
/// row, bias [N]; p [M,R] f32 dense and s [R,N] come with G = 1 and alpha = 1 only. With beta = 0 c is not read.
struct Product {
  std::int64_t G = 1;
  std::int64_t M = 0, N = 0, K = 0;
  Matrix a, b;
  void* c = nullptr;
  DType c_dtype = DType::kF32;
  std::int64_t c_row_stride = 0, c_batch_stride = 0;
  float alpha = 1, beta = 0;
  const void* bias = nullptr;  ///< may be null
  DType bias_dtype = DType::kF32;
  std::int64_t R = 0;
  const void* p = nullptr;
  Matrix s;
  float scale = 1;
};

/// Its floating-point operations.
double work_of(const Product& product);
/// Whether it has no element.
bool is_empty(const Product& product);

/// A product whose b lies by columns and that has at most 8 rows, by one pass over b.
KernelStatus multiply_few_rows(Stream& stream, const Product& product);
/// By MPSMatrixMultiplication: products of f32 and f16 without bias and update, whose strides it knows.
KernelStatus multiply_by_mps(Stream& stream, const Product& product);
/// By MPSMatrixVectorMultiplication: such products of one row or one column.
KernelStatus multiply_vector_by_mps(Stream& stream, const Product& product);
/// By MPSNDArrayMatrixMultiplication: batches of such products that are dense, where an operand may be one for all.
KernelStatus multiply_arrays_by_mps(Stream& stream, const Product& product);
/// Any product, by tiles.
KernelStatus multiply_by_tiles(Stream& stream, const Product& product);

/// One of them: the one forced for "matmul", the one measured to be best, or the first usual one that takes it; or `only`
/// this one.
KernelStatus multiply(Stream& stream, const Product& product, std::string_view only = {});

/// Whether a call of this shape tries this way where nothing was measured.
bool is_usual(std::string_view way, const CallShape& shape);

/// What decides how fast a product is.
CallShape shape_of(const Product& product);

}  // namespace wick::mps
