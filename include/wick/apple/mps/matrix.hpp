#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include "wick/apple/metal.hpp"
#include "wick/apple/objc.hpp"

/// Metal Performance Shaders: matrices and vectors on Metal buffers, and kernels for them. Every rule of MPS is checked
/// before the call, so that a mistake is an Error with the numbers in it where MPS would end the process.
///
/// A kernel object may be used again and again, by one thread at a time. Matrices and vectors may be shared by threads.
namespace wick::apple::mps {

/// The type of an element, as MPS numbers it. The low 16 bits are its bits, not bytes.
enum class DataType : std::uint32_t {
  kFloat32 = 0x10000020,
  kFloat16 = 0x10000010,
  kBFloat16 = 0x90000010,
  kInt8 = 0x20000008,
  kInt16 = 0x20000010,
  kInt32 = 0x20000020,
  kUInt8 = 0x00000008,
  kUInt16 = 0x00000010,
  kUInt32 = 0x00000020,
};
/// Bytes of an element. Throws Error kArgument for a value that is no DataType.
std::size_t element_bytes(DataType type);
/// "Float32".
std::string_view to_string(DataType type) noexcept;

/// Where the elements of a batch of matrices are: element (k, i, j) is at k * matrix_bytes + i * row_bytes + j elements.
struct MatrixLayout {
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  DataType type = DataType::kFloat32;
  std::uint64_t row_bytes = 0;     ///< a multiple of the element; 0: just what a row needs
  std::uint64_t matrices = 1;      ///< of the batch
  std::uint64_t matrix_bytes = 0;  ///< a multiple of row_bytes; 0: just what a matrix needs
};

/// Describes matrices. A copy shares the description.
class MatrixDescriptor {
 public:
  /// Throws Error kArgument for no rows, columns or matrices, for rows or columns that 32 bits do not hold, and for
  /// strides that are too small or no multiples.
  explicit MatrixDescriptor(const MatrixLayout& layout);
  /// What it describes; no stride is left at 0.
  const MatrixLayout& layout() const noexcept { return layout_; }
  /// Bytes that a buffer must have from the first element on. The last row needs no padding.
  std::uint64_t bytes() const noexcept;
  /// The stride of rows that MPS likes best. It is advice: any multiple of the element that holds a row will do.
  static std::uint64_t recommended_row_bytes(std::uint64_t columns, DataType type);
  /// The object itself.
  const Ref<objc::MPSMatrixDescriptor>& object() const noexcept { return object_; }

 private:
  MatrixLayout layout_;
  Ref<objc::MPSMatrixDescriptor> object_;
};

/// Where the elements of a batch of vectors are.
struct VectorLayout {
  std::uint64_t length = 0;
  DataType type = DataType::kFloat32;
  std::uint64_t vectors = 1;
  std::uint64_t vector_bytes = 0;  ///< a multiple of the element; 0: just what a vector needs
};

/// Describes vectors. A copy shares the description.
class VectorDescriptor {
 public:
  /// Throws Error kArgument for no length or vectors, and for a stride that is too small or no multiple.
  explicit VectorDescriptor(const VectorLayout& layout);
  /// What it describes; the stride is not left at 0.
  const VectorLayout& layout() const noexcept { return layout_; }
  /// Bytes that a buffer must have from the first element on.
  std::uint64_t bytes() const noexcept;
  /// The object itself.
  const Ref<objc::MPSVectorDescriptor>& object() const noexcept { return object_; }

 private:
  VectorLayout layout_;
  Ref<objc::MPSVectorDescriptor> object_;
};

namespace detail {
struct TemporaryStorage;
}  // namespace detail

/// Matrices on a buffer, which they keep alive. A copy shares them.
class Matrix {
 public:
  /// From a byte offset on. Throws Error kArgument unless the offset is a multiple of the element and the buffer holds what
  /// the descriptor says from there on.
  Matrix(const metal::Buffer& buffer, const MatrixDescriptor& descriptor, std::size_t offset = 0);
  /// Where its elements are, from offset() on.
  const MatrixLayout& layout() const noexcept { return layout_; }
  /// The byte offset into the buffer.
  std::size_t offset() const noexcept { return offset_; }
  /// Its buffer; nothing for a TemporaryMatrix.
  const std::optional<metal::Buffer>& buffer() const noexcept { return buffer_; }
  /// How often a TemporaryMatrix has been read and written; null for others.
  const std::shared_ptr<detail::TemporaryStorage>& temporary() const noexcept { return temporary_; }
  /// The object itself.
  const Ref<objc::MPSMatrix>& object() const noexcept { return object_; }

 protected:
  /// For TemporaryMatrix.
  Matrix(const MatrixLayout& layout, Ref<objc::MPSMatrix> object,
         std::shared_ptr<detail::TemporaryStorage> temporary);

 private:
  MatrixLayout layout_;
  std::size_t offset_ = 0;
  std::optional<metal::Buffer> buffer_;
  std::shared_ptr<detail::TemporaryStorage> temporary_;
  Ref<objc::MPSMatrix> object_;
};

/// A matrix for results between the kernels of one command buffer. Its memory is the GPU's alone and is another's once it
/// has been read as often as was said. A copy shares it.
class TemporaryMatrix : public Matrix {
 public:
  /// `reads`: how many kernels will read it. Throws Error kArgument for 0, or when nothing may be encoded to the command
  /// buffer.
  TemporaryMatrix(const metal::CommandBuffer& buffer, const MatrixDescriptor& descriptor,
                  std::uint64_t reads = 1);
  /// How many reads are left.
  std::uint64_t reads_left() const noexcept;

 private:
  TemporaryMatrix(const MatrixLayout& layout,
                  const std::shared_ptr<detail::TemporaryStorage>& storage);
};

/// Vectors on a buffer, which they keep alive. A copy shares them.
class Vector {
 public:
  /// As Matrix.
  Vector(const metal::Buffer& buffer, const VectorDescriptor& descriptor, std::size_t offset = 0);
  /// Where its elements are, from offset() on.
  const VectorLayout& layout() const noexcept { return layout_; }
  /// The byte offset into the buffer.
  std::size_t offset() const noexcept { return offset_; }
  /// Its buffer.
  const metal::Buffer& buffer() const noexcept { return buffer_; }
  /// The object itself.
  const Ref<objc::MPSVector>& object() const noexcept { return object_; }

 private:
  VectorLayout layout_;
  std::size_t offset_;
  metal::Buffer buffer_;
  Ref<objc::MPSVector> object_;
};

/// Where a kernel begins in a matrix, in elements as they are stored, before any transposition.
struct Origin {
  std::uint64_t row = 0;
  std::uint64_t column = 0;
};

/// "Everything that is there".
inline constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

/// Which matrices of a batch a kernel works on.
struct Batch {
  std::uint64_t start = 0;
  std::uint64_t size = kAll;  ///< kAll: from `start` to the last matrix of the result
};

}  // namespace wick::apple::mps
