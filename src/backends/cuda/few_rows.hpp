#pragma once

#include <span>

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// out [M,N] = x [M,K] w [N,K]ᵀ + scale · xa [M,R] b [N,R]ᵀ + bias, for the few rows of decoding: one pass over w at the
/// speed of memory, sums in f32, one rounding. All are dense. R = 0: no adapter.
struct FewRows {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  std::int64_t R = 0;
  const void* x = nullptr;
  DType x_dtype = DType::kF32;
  const void* w = nullptr;
  DType w_dtype = DType::kF32;  ///< x's, or f32
  const void* bias = nullptr;   ///< of out's dtype, may be null
  const void* a = nullptr;      ///< [R,K]: xa = x aᵀ is made first; null when it is there already
  DType a_dtype = DType::kF32;  ///< x's, or f32
  float* xa = nullptr;
  const void* b = nullptr;
  DType b_dtype = DType::kF32;  ///< x's, or f32
  void* out = nullptr;
  DType out_dtype = DType::kF32;  ///< x's, or f32
  float scale = 1;
};

inline constexpr std::size_t kMostFewRows = 3;  ///< products in one launch

/// At most 8 rows, and rows of w (and of a) that are made of 16 bytes, at most 49,152.
bool takes_few_rows(const FewRows& product);

/// Up to three of those, one x and one dtype of each operand for all: what one launch computes.
bool takes_few_rows(std::span<const FewRows> products);

/// Whether cuBLASLt, with an adapter's products behind it, is over sooner than this one pass.
bool is_better_by_cublaslt(const FewRows& product);

/// Enqueues what takes_few_rows() takes.
KernelStatus multiply_few_rows(Stream& stream, const FewRows& product);

/// As above: the products side by side in one launch, and their x aᵀ in one before it.
KernelStatus multiply_few_rows(Stream& stream, std::span<const FewRows> products);

/// As above for gate and up of one row, and h [N] of x's dtype: the swiglu of their results, which have x's dtype too.
KernelStatus multiply_one_row_swiglu(Stream& stream, std::span<const FewRows> products, void* h);

}  // namespace wick::cuda
