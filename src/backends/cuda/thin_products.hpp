#pragma once

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// The products of a low-rank adapter's side with a wide matrix x [M,C] of f16 or bf16, rows dense. One pass over x
/// makes both of these, or one of them:
///
///     p [M,R] = x t      (t [C,R], any strides, f32 or x's dtype: rounded to x's dtype)
///     d [C,R] = scale · xᵀ g   (g [M,R], rows dense, f32 or x's dtype: rounded to x's dtype)
///
/// Sums are f32, in an order that depends on the shape alone.
struct ThinProducts {
  std::int64_t M = 0;
  std::int64_t C = 0;
  std::int64_t R = 0;
  void* x = nullptr;  ///< only read
  DType dtype = DType::kBF16;

  Matrix t;                ///< no data: p is not wanted
  float* p_f32 = nullptr;  ///< [M,R], may be null
  void* p = nullptr;       ///< [M,R] in x's dtype, may be null

  Matrix g;  ///< no data: d is not wanted
  Matrix d;  ///< f32 or x's dtype, any strides
  float scale = 1;
};

/// Enqueues them, or says why not: ranks above 64, f32, and rows that are not made of 16 bytes are for others.
KernelStatus multiply_thin(Stream& stream, const ThinProducts& products);

/// y [M,N] += scale · p [M,R] s, with s [R,N] of any strides, for a dense y of f16 or bf16; p is dense, f32 or y's
/// dtype. p and s are rounded to y's dtype, sums are f32.
struct ThinUpdate {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t R = 0;
  void* y = nullptr;
  DType dtype = DType::kBF16;
  Matrix p;
  Matrix s;
  float scale = 1;
};

/// As above.
KernelStatus add_thin(Stream& stream, const ThinUpdate& update);

}  // namespace wick::cuda
