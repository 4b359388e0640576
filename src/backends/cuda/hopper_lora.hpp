#pragma once

#include <string>

#include "backends/cuda/products.hpp"

namespace wick::cuda {

/// A product and a low-rank one in one launch, on Hopper's tensor cores:
///
///     out [M,N] = x [M,K] w [K,N] + scale · p [M,R] s [R,N] + bias [N]
///
/// x, w, p, bias and out are f16 or bf16, s is f32 or the same; scale · s is rounded to x's dtype. Sums are f32, and out is
/// rounded once.
struct HopperLora {
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  std::int64_t R = 0;
  DType dtype = DType::kBF16;
  Matrix x;                    ///< rows dense along K
  Matrix w;                    ///< dense along K (row_stride 1) or along N (column_stride 1)
  void* p = nullptr;           ///< dense
  Matrix s;                    ///< dense along either axis
  const void* bias = nullptr;  ///< may be null
  void* out = nullptr;         ///< dense
  float scale = 1;
};

/// Why multiply_hopper_lora() does not take a product; empty when it does.
std::string hopper_lora_refusal(Stream& stream, const HopperLora& product);

/// Enqueues it, or says why not: other GPUs, ranks above 64, sizes that are no multiples of 8, few rows.
KernelStatus multiply_hopper_lora(Stream& stream, const HopperLora& product);

}  // namespace wick::cuda
