#pragma once

#include <cstdint>

#include "wick/apple/mps/matrix.hpp"

/// Factorizations and solvers, of Float32 matrices. Where a batch is worked on, its matrices are encoded one by one: MPS is
/// known to factor large batches wrongly.
namespace wick::apple::mps {

/// What a factorization says in its status buffer once the command buffer has completed.
enum class DecompositionStatus : std::int32_t {
  kSuccess = 0,
  kFailure = -1,
  kSingular = -2,
  kNotPositiveDefinite = -3
};

/// P A = L U with partial pivoting, by MPSMatrixDecompositionLU.
class MatrixDecompositionLU {
 public:
  /// Of rows x columns. Throws Error kArgument when one is 0.
  MatrixDecompositionLU(const metal::Device& device, std::uint64_t rows, std::uint64_t columns);
  /// Encodes it: `result` gets L without its ones and U, and may be the source; `pivots`, UInt32 with one row, gets the row
  /// that was swapped with each. `status`, which may be null, gets a DecompositionStatus; it must be shared memory, and the batch one
  /// matrix then. Throws Error kArgument for other types, parts that are not there, overlaps, and when nothing may be
  /// encoded.
  void encode(metal::CommandBuffer& buffer, const Matrix& source, const Matrix& result,
              const Matrix& pivots, const metal::Buffer* status = nullptr, Batch batch = {}) const;

 private:
  std::uint64_t rows_, columns_;
  Ref<objc::MPSKernel> kernel_;
};

/// A = L L^T, or U^T U, by MPSMatrixDecompositionCholesky. The other triangle is neither read nor written.
class MatrixDecompositionCholesky {
 public:
  /// Of order x order. Throws Error kArgument for 0.
  MatrixDecompositionCholesky(const metal::Device& device, bool lower, std::uint64_t order);
  /// Encodes it; as MatrixDecompositionLU::encode().
  void encode(metal::CommandBuffer& buffer, const Matrix& source, const Matrix& result,
              const metal::Buffer* status = nullptr, Batch batch = {}) const;

 private:
  std::uint64_t order_;
  Ref<objc::MPSKernel> kernel_;
};

/// How MatrixSolveTriangular solves.
struct TriangularOptions {
  bool right = false;  ///< X op(A) = alpha B instead of op(A) X = alpha B
  bool upper = false;
  bool transpose = false;
  bool unit = false;  ///< the diagonal counts as ones
  double alpha = 1;
};

/// Solves with a triangle, by MPSMatrixSolveTriangular.
class MatrixSolveTriangular {
 public:
  /// Of order x order, for `count` right-hand sides. Throws Error kArgument when one is 0 or alpha is not finite.
  MatrixSolveTriangular(const metal::Device& device, std::uint64_t order, std::uint64_t count,
                        const TriangularOptions& options = {});
  /// Encodes it. Throws Error kArgument as MatrixDecompositionLU::encode(); the solution may overlap nothing.
  void encode(metal::CommandBuffer& buffer, const Matrix& source, const Matrix& right_hand_side,
              const Matrix& solution, Batch batch = {}) const;

 private:
  std::uint64_t order_, count_;
  bool right_;
  Ref<objc::MPSKernel> kernel_;
};

/// Solves op(A) X = B with what MatrixDecompositionLU gave, by MPSMatrixSolveLU.
class MatrixSolveLU {
 public:
  /// As MatrixSolveTriangular.
  MatrixSolveLU(const metal::Device& device, std::uint64_t order, std::uint64_t count,
                bool transpose = false);
  /// Encodes it; as MatrixSolveTriangular::encode().
  void encode(metal::CommandBuffer& buffer, const Matrix& factors, const Matrix& right_hand_side,
              const Matrix& pivots, const Matrix& solution, Batch batch = {}) const;

 private:
  std::uint64_t order_, count_;
  Ref<objc::MPSKernel> kernel_;
};

/// Solves A X = B with what MatrixDecompositionCholesky gave, by MPSMatrixSolveCholesky.
class MatrixSolveCholesky {
 public:
  /// As MatrixSolveTriangular. `upper` says which triangle holds the factor.
  MatrixSolveCholesky(const metal::Device& device, bool upper, std::uint64_t order,
                      std::uint64_t count);
  /// Encodes it; as MatrixSolveTriangular::encode().
  void encode(metal::CommandBuffer& buffer, const Matrix& factor, const Matrix& right_hand_side,
              const Matrix& solution, Batch batch = {}) const;

 private:
  std::uint64_t order_, count_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps
