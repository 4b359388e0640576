#pragma once

#include <string>

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// A product and a low-rank adapter beside it in one pass over x, on Hopper's tensor cores:
///
///     p [M,R] = x [M,K] t            out [M,N] = x w + scale · p s + bias
///
/// for w [K,N], t [K,R], s [R,N]. x, w, bias and out are f16 or bf16, t and s f32 or the same; p is rounded to x's dtype on
/// its way into the second product, sums are f32, and out is rounded once.
struct HopperLora {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  std::int64_t R = 0;
  DType dtype = DType::kBF16;
  Matrix x;                    ///< rows dense along K
  Matrix w;                    ///< dense along K (row_stride 1) or along N (column_stride 1)
  Matrix t;                    ///< dense along either axis
  Matrix s;                    ///< dense along either axis
  const void* bias = nullptr;  ///< [N], may be null
  void* out = nullptr;         ///< rows dense
  float scale = 1;
  float* p_f32 = nullptr;  ///< [M,R], may be null
  void* p = nullptr;       ///< [M,R] in x's dtype, may be null
};

/// Enqueues it, or says why not: other GPUs, ranks above 32, sizes that are no multiples of 8, few rows.
KernelStatus multiply_hopper_lora(Stream& stream, const HopperLora& product);

}  // namespace wick::cuda
