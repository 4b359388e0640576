#pragma once

#include <string>

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// A product and a thin one in a single launch, on Hopper's tensor cores:
///
///     out [M,N] = x [M,K] w [K,N] + p [M,R] s [R,N] + bias [N]
///
/// all of one 16-bit dtype; sums are f32 and rounded once. w and s are both dense along K and R, or both along N.
struct LoraProduct {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  std::int64_t R = 0;  ///< 0: no thin product
  DType dtype = DType::kBF16;
  Matrix x;                    ///< rows dense along K
  Matrix w;                    ///< row_stride 1 or column_stride 1
  Matrix p;                    ///< rows dense along R
  Matrix s;                    ///< dense along the same axis as w
  const void* bias = nullptr;  ///< may be null
  void* out = nullptr;         ///< rows dense
};

/// True for what multiply_with_thin() takes.
bool takes_with_thin(Stream& stream, const LoraProduct& product);

/// Enqueues it, or says why not: other GPUs, other dtypes, rows that are not made of 16 bytes.
KernelStatus multiply_with_thin(Stream& stream, const LoraProduct& product);

}  // namespace wick::cuda
