#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/bf16_products.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/scratch.hpp"
#include "wick/layout/dtype.hpp"

namespace wick::cpu {

// An adapter in f32 beside activations of bf16: AMX multiplies both once each number of the adapter, and of what is made
// of it, is the sum of two numbers of bf16. The parts take the place of more columns or of a deeper sum, so that the
// products are those of bf16 matrices.

/// Whether AMX is to multiply [rows, …] of activations of dtype `x` with an adapter of dtype `adapter`.
bool splits_adapter(DType x, DType adapter, std::int64_t rows);

/// How the parts of a matrix [rows, columns] are arranged.
enum class PartsLayout : std::uint8_t {
  kSideBySide,  ///< [rows, parts · columns]: the parts of a row follow each other
  kStacked      ///< [parts · rows, columns]: whole parts follow each other
};

/// Parts of factor · x, a matrix [rows, columns].
class SplitMatrix {
 public:
  SplitMatrix(Stream& stream, const float* x, std::int64_t rows, std::int64_t columns,
              std::span<const Bf16Part> parts, PartsLayout layout, float factor = 1);

  Operand operand() const {
    return {.data = memory_.data(), .dtype = DType::kBF16, .row_stride = row_stride_};
  }

 private:
  ScratchArray<BFloat16> memory_;
  std::int64_t row_stride_;
};

/// One factor of a product as the sum of its parts.
inline constexpr Bf16Part kHighLow[] = {Bf16Part::kHigh, Bf16Part::kLow};
/// Two factors, along the sum: high · high + low · high + high · low.
inline constexpr Bf16Part kLeftParts[] = {Bf16Part::kHigh, Bf16Part::kLow, Bf16Part::kHigh};
inline constexpr Bf16Part kRightParts[] = {Bf16Part::kHigh, Bf16Part::kHigh, Bf16Part::kLow};

/// out [M,R] = a b for a [M,K] of bf16 and b [K,R] in two parts, as operand of [K, 2R].
void multiply_split(Stream& stream, const Operand& a, const Operand& b, std::int64_t M,
                    std::int64_t R, std::int64_t K, float* out);

/// out [R,N] = scale · aᵀ b for a [M,R] in f32 and b [M,N] of bf16; [N,R] with `transposed`.
struct SplitGradient {
  std::int64_t M, N, R;
  float scale;
  const float* a;
  Operand b;
  float* out;
  bool transposed;
};
void split_gradient(Stream& stream, const SplitGradient& gradient);

}  // namespace wick::cpu
