#pragma once

#include "wick/tensor/tensor.hpp"

namespace wick {

/// How matmul() reads its operands and writes its result.
struct MatmulOptions {
  bool transpose_a = false;  ///< exchanges the last two axes of a first
  bool transpose_b = false;  ///< exchanges the last two axes of b first
  double alpha = 1;          ///< factor of the product
};

/// Matrix product: out = alpha · op(a) op(b), for each matrix of a batch.
///
/// Shapes: op(a) […,M,K], op(b) […,K,N], rank >= 2; the leading dimensions broadcast; out […,M,N]. K = 0
///   gives zeros.
/// Dtypes: f32, f16, bf16; equal, or one of them f32, which then is out's dtype. Accumulated in f32 and
///   rounded once.
/// Errors: kShape for a rank below 2, unequal K, or batches that do not broadcast; kDtype, kDevice.
/// Gradient: a, b.
/// Source: BLAS gemm, https://www.netlib.org/blas/
Tensor matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options = {});

/// Accumulates a product into a tensor: c = alpha · op(a) op(b) + beta · c. With beta = 0 c is never read.
///
/// Shapes: as matmul(); c has the shape of the product, unit stride along its last axis and no repeated
///   elements.
/// Dtypes: as matmul(); c any floating dtype.
/// Errors: kShape, kDtype, kDevice; kArgument when c requires a gradient and ops are recorded, when an
///   operand requires one, or when c shares memory with one.
/// Gradient: none; c's version goes up.
/// Source: BLAS gemm, https://www.netlib.org/blas/
void matmul_(const Tensor& c, const Tensor& a, const Tensor& b, const MatmulOptions& options = {},
             double beta = 1);

}  // namespace wick
