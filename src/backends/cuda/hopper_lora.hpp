#pragma once

#include <array>
#include <string>

#include "backends/cuda/products.hpp"

namespace wick::cuda {

inline constexpr int kMostHopperParts = 3;

/// A wide product x [M,K] w [K,N] and a low-rank one p [M,R] s [R,N] beside it. p is given, or it is x aᵀ, made in the same
/// launch and rounded as the other results are.
struct HopperPart {
  std::int64_t N = 0;
  std::int64_t K = 0;
  std::int64_t R = 0;
  Matrix x;  ///< rows dense along K
  Matrix
      w;  ///< dense along K (row_stride 1) or along N (column_stride 1), as that of the other parts
  Matrix p;           ///< rows dense along R; receives what is made
  void* a = nullptr;  ///< [R,K], dense, if p is made
  float* p_f32 =
      nullptr;  ///< [M,R], dense, may be null: receives p before it is rounded, if it is made
  unsigned* made = nullptr;    ///< hopper_row_tiles() zeros, if p is made
  void* s = nullptr;           ///< [N,R], dense
  const void* bias = nullptr;  ///< [N], may be null
  void* out = nullptr;         ///< [M,N], dense
};

/// Up to three of them in one launch, on Hopper's tensor cores. Either each part has a result,
///
///     out = x w + p s + bias,
///
/// with one K for all, or one result is the sum over all parts, which then share N, bias and out. All is f16 or bf16. Sums
/// are f32, and out is rounded once.
struct HopperLora {
  std::int64_t M = 0;
  DType dtype = DType::kBF16;
  std::array<HopperPart, kMostHopperParts> parts;
  int count = 0;
  bool sums_parts = false;
  bool makes_p = false;  ///< not for sums, nor for a w that is dense along N
  /// h [M,N] = swiglu(gate, up), dense: the two parts are gate and up, alike but for their ranks, p is made, and that of gate
  /// [M, both ranks] with its a [both ranks, K] is for both. Of the results as they were rounded.
  void* h = nullptr;
  /// The one result is dh and is not stored, but what swiglu_backward makes of it as it would have been rounded: dgate and dup
  /// [M,N] of gate and up [M,N], dense.
  void* gate = nullptr;
  void* up = nullptr;
  void* dgate = nullptr;
  void* dup = nullptr;
  void* h_again = nullptr;  ///< [M,N], dense, may be null: swiglu(gate, up) beside them

  bool ends_in_gradients() const { return dgate != nullptr; }
};

/// Tiles of rows that the results are cut into, for HopperPart::made.
std::int64_t hopper_row_tiles(std::int64_t M);

/// Why multiply_hopper_lora() does not take a product, empty when it does: other GPUs, ranks above 64, sizes that are no
/// multiples of 8, few rows. Looks at sizes and strides alone, and at the addresses of x, w and out.
std::string hopper_lora_refusal(Stream& stream, const HopperLora& product);

/// Enqueues it, or says why not.
KernelStatus multiply_hopper_lora(Stream& stream, const HopperLora& product);

}  // namespace wick::cuda
