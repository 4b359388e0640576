#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "wick/apple/mps/matrix.hpp"

/// Copies of parts of matrices.
namespace wick::apple::mps {

/// One copy.
struct CopyOperation {
  Matrix source;
  Matrix destination;
  Origin from{};
  Origin to{};
};

/// Where rows and columns of a copy go: row i of the source becomes row rows[i] of the destination, counted from
/// CopyOperation::to on. A side without indices keeps its order.
struct CopyPermutation {
  std::optional<Vector> rows{};     ///< UInt32, at least as many as rows are copied
  std::optional<Vector> columns{};  ///< UInt32, at least as many as columns are copied
};

/// Copies rows x columns elements, by MPSMatrixCopy.
class MatrixCopy {
 public:
  /// A side that is transposed is stored column by column. Throws Error kArgument for no rows or columns.
  MatrixCopy(const metal::Device& device, std::uint64_t rows, std::uint64_t columns,
             bool sources_transposed = false, bool destinations_transposed = false);
  /// Encodes all copies, which run in any order. Throws Error kArgument for none, for different types, for parts that are
  /// not there, when a destination overlaps a source or another destination, and when nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, std::span<const CopyOperation> copies) const {
    encode(buffer, copies, {});
  }
  /// The same with another order of rows and columns in every destination; also throws for indices that are not UInt32,
  /// too few or part of a destination. The GPU reads the indices, so that they are not checked here: each must be below
  /// the rows, or columns, that are copied, and none may be there twice.
  void encode(metal::CommandBuffer& buffer, std::span<const CopyOperation> copies,
              const CopyPermutation& permutation) const;

 private:
  Ref<objc::MPSMatrixCopyDescriptor> describe(std::span<const CopyOperation> copies) const;
  metal::Device device_;
  std::uint64_t rows_, columns_;
  bool sources_transposed_, destinations_transposed_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps
