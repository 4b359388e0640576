#pragma once

#include <cstdint>
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

/// Copies rows x columns elements, by MPSMatrixCopy.
class MatrixCopy {
 public:
  /// A side that is transposed is stored column by column. Throws Error kArgument for no rows or columns.
  MatrixCopy(const metal::Device& device, std::uint64_t rows, std::uint64_t columns,
             bool sources_transposed = false, bool destinations_transposed = false);
  /// Encodes all copies, which run in any order. Throws Error kArgument for none, for different types, for parts that are
  /// not there, when a destination overlaps a source or another destination, and when nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, std::span<const CopyOperation> copies) const;

 private:
  metal::Device device_;
  std::uint64_t rows_, columns_;
  bool sources_transposed_, destinations_transposed_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps
