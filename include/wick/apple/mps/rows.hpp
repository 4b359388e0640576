#pragma once

#include <cstdint>

#include "wick/apple/mps/matrix.hpp"

/// Kernels that work on each row of a matrix by itself.
namespace wick::apple::mps {

/// What part of a source a kernel works on, and where its results go.
struct RowsPlace {
  Origin source{};
  Origin result{};
  std::uint64_t rows = kAll;     ///< kAll: to the end of the source
  std::uint64_t columns = kAll;  ///< kAll: to the end of the source
  Batch batch{};
};

/// Each row's softmax, or its logarithm, by MPSMatrixSoftMax or MPSMatrixLogSoftMax.
class MatrixSoftMax {
 public:
  /// Which of the two.
  enum class Kind { kSoftMax, kLogSoftMax };
  /// Ready for matrices of any size.
  explicit MatrixSoftMax(const metal::Device& device, Kind kind = Kind::kSoftMax);
  /// Encodes it. Input and result are both Float32 or both Float16, and may be the same elements. Throws Error kArgument
  /// for other types, for a part that is not in both, for a partial overlap, and when nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, const Matrix& input, const Matrix& result,
              const RowsPlace& place = {}) const;

 private:
  Ref<objc::MPSKernel> kernel_;
};

/// Where MatrixSoftMaxGradient begins in each matrix.
struct RowsGradientPlace {
  Origin gradient{};
  Origin output{};
  Origin result{};
  std::uint64_t rows = kAll;     ///< kAll: to the end of the gradient
  std::uint64_t columns = kAll;  ///< kAll: to the end of the gradient
  Batch batch{};
};

/// The gradient of MatrixSoftMax by its input: y (dy - sum(dy y)), or dy - exp(y) sum(dy) for the logarithm, by
/// MPSMatrixSoftMaxGradient or MPSMatrixLogSoftMaxGradient.
class MatrixSoftMaxGradient {
 public:
  /// Ready for matrices of any size.
  explicit MatrixSoftMaxGradient(const metal::Device& device,
                                 MatrixSoftMax::Kind kind = MatrixSoftMax::Kind::kSoftMax);
  /// Encodes it; `output` is what the forward kernel gave. All are Float32 or all are Float16. Throws Error kArgument as
  /// MatrixSoftMax::encode(), and when the result overlaps an operand.
  void encode(metal::CommandBuffer& buffer, const Matrix& gradient, const Matrix& output,
              const Matrix& result, const RowsGradientPlace& place = {}) const;

 private:
  Ref<objc::MPSKernel> kernel_;
};

/// The largest values of each row and where they are, by MPSMatrixFindTopK.
class MatrixFindTopK {
 public:
  /// Finds `count` values, largest first. Throws Error kArgument unless it is 1 to 16.
  MatrixFindTopK(const metal::Device& device, std::uint64_t count);
  /// Encodes it. The input is Float32 or Float16, the values are of its type, the indices UInt32; an index counts columns
  /// from place.source on, plus `index_offset`. Throws Error kArgument as MatrixSoftMax::encode(), for fewer columns than
  /// values, and when the results overlap anything.
  void encode(metal::CommandBuffer& buffer, const Matrix& input, const Matrix& indices,
              const Matrix& values, const RowsPlace& place = {},
              std::uint64_t index_offset = 0) const;

 private:
  std::uint64_t count_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps
