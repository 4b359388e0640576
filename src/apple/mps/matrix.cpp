#include "wick/apple/mps/matrix.hpp"

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"

namespace wick::apple::mps {

using detail::refuse;

namespace {

std::uint32_t raw(DataType type) { return static_cast<std::uint32_t>(type); }

/// a * b + c. Throws where 64 bits do not hold it.
std::uint64_t checked(std::string_view op, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t product = 0, sum = 0;
  if (__builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &sum)) {
    refuse(op, "the sizes need more bytes than there can be");
  }
  return sum;
}

void check_stride(std::string_view op, std::string_view name, std::uint64_t stride,
                  std::uint64_t unit, std::uint64_t least) {
  if (stride % unit == 0 && stride >= least) return;
  refuse(op, std::string(name) + " must be a multiple of " + std::to_string(unit) +
                 " and at least " + std::to_string(least) + "; got " + std::to_string(stride));
}

MatrixLayout complete(MatrixLayout layout) {
  constexpr std::string_view kOp = "mps.matrix_descriptor";
  const std::uint64_t element = element_bytes(layout.type);
  if (layout.rows == 0 || layout.columns == 0 || layout.matrices == 0) {
    refuse(kOp, "rows, columns and matrices must be at least 1; got " +
                    std::to_string(layout.rows) + ", " + std::to_string(layout.columns) + " and " +
                    std::to_string(layout.matrices));
  }
  constexpr std::uint64_t kMost = 0xFFFFFFFF;  // a GPU counts rows and columns in 32 bits
  if (layout.rows > kMost || layout.columns > kMost) {
    refuse(kOp, "rows and columns must be below 2^32; got " + std::to_string(layout.rows) +
                    " and " + std::to_string(layout.columns));
  }
  const std::uint64_t row = checked(kOp, layout.columns, element, 0);
  if (layout.row_bytes == 0) layout.row_bytes = row;
  check_stride(kOp, "row_bytes", layout.row_bytes, element, row);
  const std::uint64_t matrix = checked(kOp, layout.rows, layout.row_bytes, 0);
  if (layout.matrix_bytes == 0) layout.matrix_bytes = matrix;
  check_stride(kOp, "matrix_bytes", layout.matrix_bytes, layout.row_bytes, matrix);
  checked(kOp, layout.matrices, layout.matrix_bytes, 0);
  return layout;
}

VectorLayout complete(VectorLayout layout) {
  constexpr std::string_view kOp = "mps.vector_descriptor";
  const std::uint64_t element = element_bytes(layout.type);
  if (layout.length == 0 || layout.vectors == 0) {
    refuse(kOp, "length and vectors must be at least 1; got " + std::to_string(layout.length) +
                    " and " + std::to_string(layout.vectors));
  }
  const std::uint64_t vector = checked(kOp, layout.length, element, 0);
  if (layout.vector_bytes == 0) layout.vector_bytes = vector;
  check_stride(kOp, "vector_bytes", layout.vector_bytes, element, vector);
  checked(kOp, layout.vectors, layout.vector_bytes, 0);
  return layout;
}

void check_buffer(std::string_view op, const metal::Buffer& buffer, std::size_t offset,
                  std::uint64_t bytes, DataType type) {
  const std::size_t element = element_bytes(type);
  if (offset % element != 0) {
    refuse(op, "the offset must be a multiple of " + std::to_string(element) + "; got " +
                   std::to_string(offset));
  }
  if (offset > buffer.length() || bytes > buffer.length() - offset) {
    refuse(op, "the buffer has " + std::to_string(buffer.length()) + " bytes; " +
                   std::to_string(bytes) + " are needed from offset " + std::to_string(offset) +
                   " on");
  }
}

}  // namespace

std::string_view to_string(DataType type) noexcept {
  switch (type) {
    case DataType::kFloat32:
      return "Float32";
    case DataType::kFloat16:
      return "Float16";
    case DataType::kBFloat16:
      return "BFloat16";
    case DataType::kInt8:
      return "Int8";
    case DataType::kInt16:
      return "Int16";
    case DataType::kInt32:
      return "Int32";
    case DataType::kUInt8:
      return "UInt8";
    case DataType::kUInt16:
      return "UInt16";
    case DataType::kUInt32:
      return "UInt32";
  }
  return "no type";
}

std::size_t element_bytes(DataType type) {
  constexpr std::uint32_t kBits = 0xFFFF;
  if (to_string(type) == "no type") {
    refuse("mps.data_type", std::to_string(raw(type)) + " is no DataType");
  }
  return (raw(type) & kBits) / 8;
}

// ---- descriptors

MatrixDescriptor::MatrixDescriptor(const MatrixLayout& layout) : layout_(complete(layout)) {
  const AutoreleaseScope scope;
  object_ = Ref<objc::MPSMatrixDescriptor>::retain(
      messages::describe_matrices(layout_.rows, layout_.columns, layout_.matrices,
                                  layout_.row_bytes, layout_.matrix_bytes, raw(layout_.type)));
  if (!object_) objc::throw_nil_result("MPSMatrixDescriptor", "matrixDescriptorWithRows:");
}

std::uint64_t MatrixDescriptor::bytes() const noexcept {
  return (layout_.matrices - 1) * layout_.matrix_bytes + (layout_.rows - 1) * layout_.row_bytes +
         layout_.columns * ((raw(layout_.type) & 0xFFFF) / 8);
}

std::uint64_t MatrixDescriptor::recommended_row_bytes(std::uint64_t columns, DataType type) {
  checked("mps.recommended_row_bytes", columns, element_bytes(type), 0);
  return messages::row_bytes_for_columns(columns, raw(type));
}

VectorDescriptor::VectorDescriptor(const VectorLayout& layout) : layout_(complete(layout)) {
  const AutoreleaseScope scope;
  object_ = Ref<objc::MPSVectorDescriptor>::retain(messages::describe_vectors(
      layout_.length, layout_.vectors, layout_.vector_bytes, raw(layout_.type)));
  if (!object_) objc::throw_nil_result("MPSVectorDescriptor", "vectorDescriptorWithLength:");
}

std::uint64_t VectorDescriptor::bytes() const noexcept {
  return (layout_.vectors - 1) * layout_.vector_bytes +
         layout_.length * ((raw(layout_.type) & 0xFFFF) / 8);
}

// ---- matrices and vectors

Matrix::Matrix(const metal::Buffer& buffer, const MatrixDescriptor& descriptor, std::size_t offset)
    : layout_(descriptor.layout()), offset_(offset), buffer_(buffer) {
  check_buffer("mps.matrix", buffer, offset, descriptor.bytes(), layout_.type);
  const AutoreleaseScope scope;
  object_ = objc::make<objc::MPSMatrix>(messages::init_matrix, buffer.object().get(), offset,
                                        descriptor.object().get());
}

Matrix::Matrix(const MatrixLayout& layout, Ref<objc::MPSMatrix> object,
               std::shared_ptr<detail::TemporaryStorage> temporary)
    : layout_(layout), temporary_(std::move(temporary)), object_(std::move(object)) {}

Vector::Vector(const metal::Buffer& buffer, const VectorDescriptor& descriptor, std::size_t offset)
    : layout_(descriptor.layout()), offset_(offset), buffer_(buffer) {
  check_buffer("mps.vector", buffer, offset, descriptor.bytes(), layout_.type);
  const AutoreleaseScope scope;
  object_ = objc::make<objc::MPSVector>(messages::init_vector, buffer.object().get(), offset,
                                        descriptor.object().get());
}

namespace {

std::shared_ptr<detail::TemporaryStorage> make_temporary(const metal::CommandBuffer& buffer,
                                                         const MatrixDescriptor& descriptor,
                                                         std::uint64_t reads) {
  constexpr std::string_view kOp = "mps.temporary_matrix";
  buffer.check_encodable(kOp);
  if (reads == 0) refuse(kOp, "a temporary matrix must be read at least once; got 0 reads");
  const AutoreleaseScope scope;
  auto made = Ref<objc::MPSTemporaryMatrix>::retain(
      messages::temporary_matrix(buffer.object().get(), descriptor.object().get()));
  if (!made) {
    throw Error(ErrorKind::kOutOfMemory, std::string(kOp),
                "no memory for " + std::to_string(descriptor.bytes()) + " bytes");
  }
  messages::set_read_count(made.get(), reads);
  return std::make_shared<detail::TemporaryStorage>(buffer.object(), std::move(made));
}

}  // namespace

namespace detail {

TemporaryStorage::~TemporaryStorage() {
  // Metal's checks refuse one that is released while reads are left.
  if (messages::read_count(object.get()) != 0) messages::set_read_count(object.get(), 0);
}

}  // namespace detail

TemporaryMatrix::TemporaryMatrix(const metal::CommandBuffer& buffer,
                                 const MatrixDescriptor& descriptor, std::uint64_t reads)
    : TemporaryMatrix(descriptor.layout(), make_temporary(buffer, descriptor, reads)) {}

TemporaryMatrix::TemporaryMatrix(const MatrixLayout& layout,
                                 const std::shared_ptr<detail::TemporaryStorage>& storage)
    : Matrix(layout, Ref<objc::MPSMatrix>::retain(storage->object.get()), storage) {}

std::uint64_t TemporaryMatrix::reads_left() const noexcept {
  return messages::read_count(temporary()->object.get());
}

}  // namespace wick::apple::mps
