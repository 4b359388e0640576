#pragma once

#include <cstdint>
#include <vector>

#include "wick/apple/mps/matrix.hpp"

/// Products of matrices and of matrices with vectors.
namespace wick::apple::mps {

/// Where a product is cut into several, because MPS is known to give wrong results beyond. On the chips M1 and M2 a product
/// has a band of NaN from about (rows + 2 inner) * columns * element bytes = 2^31 on, and sums of 32,767 terms and more can
/// include what lies behind the operands.
struct ProductLimits {
  std::uint64_t dimension = 32766;  ///< of rows, columns and inner
  std::uint64_t band_bytes =
      std::uint64_t{7} << 28;  ///< of (rows + 2 inner) * columns elements; 2^31 less an eighth
};

/// One of the products that a product is cut into.
struct ProductTile {
  std::uint64_t row = 0, column = 0, inner = 0;           ///< where it begins
  std::uint64_t rows = 0, columns = 0, inner_length = 0;  ///< what it covers
};
/// Cuts a product within the limits; the tiles of one place follow each other along `inner`. Throws Error kArgument when a
/// size or limit is 0.
std::vector<ProductTile> cut_product(std::uint64_t rows, std::uint64_t columns, std::uint64_t inner,
                                     std::size_t element_bytes, const ProductLimits& limits = {});

/// How MatrixMultiplication multiplies.
struct MultiplicationOptions {
  bool transpose_left = false;
  bool transpose_right = false;
  double alpha = 1;
  double beta = 0;  ///< 0: what the result holds is not read
  ProductLimits limits{};
};

/// Where MatrixMultiplication begins in each matrix, and which of a batch it works on.
struct MultiplicationPlace {
  Origin left{};
  Origin right{};
  Origin result{};
  Batch batch{};
};

/// result = alpha op(left) op(right) + beta result, by MPSMatrixMultiplication.
class MatrixMultiplication {
 public:
  /// op(left) is rows x inner, op(right) is inner x columns. Throws Error kArgument when one is 0 or alpha or beta is not
  /// finite.
  MatrixMultiplication(const metal::Device& device, std::uint64_t rows, std::uint64_t columns,
                       std::uint64_t inner, const MultiplicationOptions& options = {});
  /// Encodes the product. The matrices may be larger than it. Types of left, right and result: Float32 of Float32 and
  /// Float32 or Float16; Float16 or Float32 of two Float16 or Int8; Float32 of two Int16. Throws Error kArgument for other types, for a
  /// matrix that is too small, a batch that is not in all three, a result that overlaps an operand, an alpha or beta that
  /// is too large for the type of the result, and when nothing may be encoded to the command buffer.
  void encode(metal::CommandBuffer& buffer, const Matrix& left, const Matrix& right,
              const Matrix& result, const MultiplicationPlace& place = {}) const;
  /// Products of MPS that one encode() makes.
  std::size_t parts() const noexcept { return parts_.size(); }

 private:
  struct Part {
    ProductTile tile;
    std::size_t kernel;  // of kernels_
  };
  std::size_t kernel_for(const metal::Device& device, const ProductTile& tile);
  void encode_part(objc::MTLCommandBuffer* buffer, const Part& part, const Matrix& left,
                   const Matrix& right, const Matrix& result,
                   const MultiplicationPlace& place) const;
  struct Kernel {
    std::uint64_t rows, columns, inner;
    bool continues;  // adds to what an earlier part wrote
    Ref<objc::MPSKernel> object;
  };

  std::uint64_t rows_, columns_, inner_;
  MultiplicationOptions options_;
  std::vector<Kernel> kernels_;
  std::vector<Part> parts_;
};

/// How MatrixVectorMultiplication multiplies.
struct VectorMultiplicationOptions {
  bool transpose = false;
  double alpha = 1;
  double beta = 0;  ///< 0: what the result holds is not read
};

/// Where MatrixVectorMultiplication begins, and which of a batch it works on.
struct VectorMultiplicationPlace {
  Origin matrix{};
  std::uint64_t input = 0;
  std::uint64_t result = 0;
  Batch batch{};
};

/// result = alpha op(matrix) input + beta result, by MPSMatrixVectorMultiplication.
class MatrixVectorMultiplication {
 public:
  /// op(matrix) is rows x columns. Throws Error kArgument when one is 0 or alpha or beta is not finite.
  MatrixVectorMultiplication(const metal::Device& device, std::uint64_t rows, std::uint64_t columns,
                             const VectorMultiplicationOptions& options = {});
  /// Encodes the product. Matrix and input are Float32 or Float16, the result is the same or Float32. Throws Error
  /// kArgument as MatrixMultiplication::encode().
  void encode(metal::CommandBuffer& buffer, const Matrix& matrix, const Vector& input,
              const Vector& result, const VectorMultiplicationPlace& place = {}) const;

 private:
  std::uint64_t rows_, columns_;
  VectorMultiplicationOptions options_;
  Ref<objc::MPSKernel> kernel_;
};

}  // namespace wick::apple::mps
