#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "wick/apple/mps/matrix.hpp"

/// Arrays of up to 16 dimensions and their products.
namespace wick::apple::mps {

/// What an array holds. The last dimension is the one whose elements lie beside each other; MPS calls it dimension 0.
struct NDArrayLayout {
  std::vector<std::uint64_t> shape;
  DataType type = DataType::kFloat32;
  bool packed_rows =
      false;  ///< off: every row of the last dimension begins at a multiple of 16 bytes
};

/// Describes arrays. A copy shares the description.
class NDArrayDescriptor {
 public:
  /// Throws Error kArgument for no dimensions, more than 16, a dimension of 0 and 2^31 elements or more, Error kUnsupported
  /// for packed rows before macOS 15.
  explicit NDArrayDescriptor(const NDArrayLayout& layout);
  /// What it describes.
  const NDArrayLayout& layout() const noexcept { return layout_; }
  /// From one row of the last dimension to the next.
  std::uint64_t row_bytes() const noexcept;
  /// Bytes of all rows.
  std::uint64_t bytes() const noexcept;
  /// The object itself.
  const Ref<objc::MPSNDArrayDescriptor>& object() const noexcept { return object_; }

 private:
  NDArrayLayout layout_;
  Ref<objc::MPSNDArrayDescriptor> object_;
};

/// An array, or a part of one that is seen through a view. A copy shares its elements.
class NDArray {
 public:
  /// With memory of its own. Throws Error kOutOfMemory when there is none.
  NDArray(const metal::Device& device, const NDArrayDescriptor& descriptor);
  /// On a buffer, from a byte offset on. Throws Error kArgument unless the offset is a multiple of the element and the
  /// buffer holds all rows from there on, Error kUnsupported before macOS 15.
  NDArray(const metal::Buffer& buffer, const NDArrayDescriptor& descriptor, std::size_t offset = 0);

  /// The lengths of its dimensions, the last one fastest.
  const std::vector<std::uint64_t>& shape() const noexcept { return shape_; }
  /// The type of its elements.
  DataType type() const noexcept { return type_; }
  /// Whether it shows elements of another array.
  bool is_view() const noexcept { return is_view_; }
  /// The same elements with two dimensions exchanged. Throws Error kArgument for a dimension that is not there and when
  /// nothing may be encoded.
  NDArray transposed(metal::CommandBuffer& buffer, std::size_t one, std::size_t other) const;
  /// `length` of one dimension, from `start` on; as above, and for a range that is empty or not inside.
  NDArray sliced(metal::CommandBuffer& buffer, std::size_t dimension, std::uint64_t start,
                 std::uint64_t length) const;
  /// Sets all elements from the host, which must lie close together. Throws Error kArgument for another number of bytes. No
  /// command buffer that uses the array may be under way.
  void write(std::span<const std::byte> bytes) const;
  /// Gives all elements to the host; as write().
  void read(std::span<std::byte> bytes) const;
  /// Encodes that all elements are set from a buffer, where they lie close together. Throws Error kArgument for an offset
  /// that is no multiple of the element, a buffer that is too small, and when nothing may be encoded.
  void import_from(metal::CommandBuffer& to, const metal::Buffer& source,
                   std::size_t offset = 0) const;
  /// Encodes that all elements are written to a buffer; as import_from().
  void export_to(metal::CommandBuffer& to, const metal::Buffer& destination,
                 std::size_t offset = 0) const;
  /// The object itself.
  const Ref<objc::MPSNDArray>& object() const noexcept { return object_; }

 private:
  friend class NDArrayMatrixMultiplication;
  NDArray() = default;
  NDArray view(metal::CommandBuffer& buffer, const NDArray& shown,
               const Ref<objc::MPSNDArrayDescriptor>& descriptor) const;
  Ref<objc::MPSNDArrayDescriptor> describe() const;
  void check_dimension(std::string_view op, std::size_t dimension) const;
  std::uint64_t dense_bytes() const noexcept;
  void check_transfer(std::string_view op, const metal::CommandBuffer& work,
                      const metal::Buffer& buffer, std::size_t offset) const;
  bool may_overlap(const NDArray& other) const noexcept;

  std::vector<std::uint64_t> shape_;
  std::vector<std::uint64_t> strides_;  // in bytes
  DataType type_ = DataType::kFloat32;
  bool is_view_ = false;
  std::optional<metal::Buffer> buffer_;
  Ref<objc::MPSNDArray> root_;  // what has the memory; of a buffer, the array that was made on it
  std::uint64_t first_ = 0;     // the byte of the first element, in root_ or buffer_
  Ref<objc::MPSNDArray> object_;
};

/// result = alpha left right + beta added, by MPSNDArrayMatrixMultiplication. The last two dimensions are rows and columns;
/// up to two before them count products, and a length of 1 among them, or their absence, repeats.
class NDArrayMatrixMultiplication {
 public:
  /// Throws Error kArgument unless alpha and beta are finite.
  explicit NDArrayMatrixMultiplication(const metal::Device& device, double alpha = 1,
                                       double beta = 1);
  /// Encodes alpha left right. All are Float32 or all Float16. Throws Error kArgument for other types, for shapes that do not
  /// fit, for a result that overlaps an operand or is a view, for a dimension above 32,766, where MPS is known to give wrong
  /// results (MatrixMultiplication cuts such products), and when nothing may be encoded.
  void encode(metal::CommandBuffer& buffer, const NDArray& left, const NDArray& right,
              const NDArray& result) const;
  /// Encodes alpha left right + beta added, where `added` has the shape of the result; as above.
  void encode(metal::CommandBuffer& buffer, const NDArray& left, const NDArray& right,
              const NDArray& added, const NDArray& result) const;

 private:
  void check(const metal::CommandBuffer& buffer, const NDArray& left, const NDArray& right,
             const NDArray& result) const;
  double alpha_, beta_;
  Ref<objc::MPSKernel> product_;  // of two sources
  Ref<objc::MPSKernel> sum_;      // of three
};

}  // namespace wick::apple::mps
