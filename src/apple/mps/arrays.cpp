#include "wick/apple/mps/arrays.hpp"

#include <algorithm>

#include "apple/mps/checks.hpp"
#include "apple/mps/mps_messages.hpp"
#include "apple/objc/foundation.hpp"

namespace wick::apple::mps {

using detail::refuse;

namespace {

constexpr std::string_view kArray = "mps.ndarray";
constexpr std::uint64_t kMostDimensions = 16;
constexpr std::uint64_t kMostElements = (std::uint64_t{1} << 31) - 1;
constexpr std::uint64_t kRowUnit = 16;

std::uint32_t raw(DataType type) { return static_cast<std::uint32_t>(type); }

std::string text_of(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (const std::uint64_t length : shape) {
    text += (text.size() == 1 ? "" : ",") + std::to_string(length);
  }
  return text + "]";
}

void check_shape(const std::vector<std::uint64_t>& shape) {
  constexpr std::string_view kOp = "mps.ndarray_descriptor";
  if (shape.empty() || shape.size() > kMostDimensions) {
    refuse(kOp, "an array has 1 to 16 dimensions; got " + text_of(shape));
  }
  std::uint64_t elements = 1;
  for (const std::uint64_t length : shape) {
    if (length == 0) refuse(kOp, "no dimension may be 0; got " + text_of(shape));
    if (length > kMostElements / elements) {
      refuse(kOp, "an array has fewer than 2^31 elements; got " + text_of(shape));
    }
    elements *= length;
  }
}

}  // namespace

// ---- NDArrayDescriptor

NDArrayDescriptor::NDArrayDescriptor(const NDArrayLayout& layout) : layout_(layout) {
  element_bytes(layout.type);
  check_shape(layout.shape);
  const AutoreleaseScope scope;
  std::vector<std::uint64_t> fastest_first(layout.shape.rbegin(), layout.shape.rend());
  object_ = Ref<objc::MPSNDArrayDescriptor>::retain(
      messages::describe_array(raw(layout.type), fastest_first.size(), fastest_first.data()));
  if (!object_) objc::throw_nil_result("MPSNDArrayDescriptor", "descriptorWithDataType:");
  if (!layout.packed_rows) return;
  if (!objc::responds_to(object_.get(), messages::set_packed_rows)) {
    throw Error(ErrorKind::kUnsupported, "mps.ndarray_descriptor", "packed rows need macOS 15");
  }
  messages::set_packed_rows(object_.get(), true);
}

std::uint64_t NDArrayDescriptor::row_bytes() const noexcept {
  const std::uint64_t dense = layout_.shape.back() * ((raw(layout_.type) & 0xFFFF) / 8);
  return layout_.packed_rows ? dense : (dense + kRowUnit - 1) / kRowUnit * kRowUnit;
}

std::uint64_t NDArrayDescriptor::bytes() const noexcept {
  std::uint64_t rows = 1;
  for (std::size_t i = 0; i + 1 < layout_.shape.size(); ++i) rows *= layout_.shape[i];
  return rows * row_bytes();
}

// ---- NDArray

namespace {

std::vector<std::uint64_t> strides_of(const NDArrayDescriptor& descriptor) {
  const NDArrayLayout& l = descriptor.layout();
  std::vector<std::uint64_t> strides(l.shape.size());
  std::uint64_t next = descriptor.row_bytes();
  strides.back() = element_bytes(l.type);
  for (std::size_t i = strides.size() - 1; i-- > 0;) {
    strides[i] = next;
    next *= l.shape[i];
  }
  return strides;
}

}  // namespace

NDArray::NDArray(const metal::Device& device, const NDArrayDescriptor& descriptor)
    : shape_(descriptor.layout().shape),
      strides_(strides_of(descriptor)),
      type_(descriptor.layout().type) {
  const AutoreleaseScope scope;
  try {
    root_ = objc::make<objc::MPSNDArray>(messages::init_array, device.object().get(),
                                         descriptor.object().get());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kBackend) throw;
    throw Error(ErrorKind::kOutOfMemory, std::string(kArray),
                "no memory for " + std::to_string(descriptor.bytes()) + " bytes");
  }
  object_ = root_;
}

NDArray::NDArray(const metal::Buffer& buffer, const NDArrayDescriptor& descriptor,
                 std::size_t offset)
    : shape_(descriptor.layout().shape),
      strides_(strides_of(descriptor)),
      type_(descriptor.layout().type),
      buffer_(buffer),
      first_(offset) {
  if (offset % element_bytes(type_) != 0) {
    refuse(kArray, "the offset must be a multiple of " + std::to_string(element_bytes(type_)) +
                       "; got " + std::to_string(offset));
  }
  if (offset > buffer.length() || descriptor.bytes() > buffer.length() - offset) {
    refuse(kArray, "the buffer has " + std::to_string(buffer.length()) + " bytes; " +
                       std::to_string(descriptor.bytes()) + " are needed from offset " +
                       std::to_string(offset) + " on");
  }
  if (!objc::system_is_at_least(15, 0)) {
    throw Error(ErrorKind::kUnsupported, std::string(kArray), "arrays on buffers need macOS 15");
  }
  const AutoreleaseScope scope;
  root_ = objc::make<objc::MPSNDArray>(messages::init_array_on_buffer, buffer.object().get(),
                                       offset, descriptor.object().get());
  object_ = root_;
}

std::uint64_t NDArray::dense_bytes() const noexcept {
  std::uint64_t bytes = element_bytes(type_);
  for (const std::uint64_t length : shape_) bytes *= length;
  return bytes;
}

void NDArray::check_dimension(std::string_view op, std::size_t dimension) const {
  if (dimension < shape_.size()) return;
  refuse(op, "dimension " + std::to_string(dimension) + " is not there; the array is " +
                 text_of(shape_));
}

Ref<objc::MPSNDArrayDescriptor> NDArray::describe() const {
  return Ref<objc::MPSNDArrayDescriptor>::retain(messages::array_descriptor(object_.get()));
}

NDArray NDArray::view(metal::CommandBuffer& buffer, const NDArray& shown,
                      const Ref<objc::MPSNDArrayDescriptor>& descriptor) const {
  constexpr objc::UInteger kShallAlias = 1;  // MPSAliasingStrategy
  NDArray made = shown;
  made.is_view_ = true;
  made.object_ = Ref<objc::MPSNDArray>::retain(
      messages::array_view(object_.get(), buffer.object().get(), descriptor.get(), kShallAlias));
  if (!made.object_) {
    throw Error(ErrorKind::kBackend, std::string(kArray), "MPS makes no such view of the array");
  }
  return made;
}

NDArray NDArray::transposed(metal::CommandBuffer& buffer, std::size_t one,
                            std::size_t other) const {
  constexpr std::string_view kOp = "mps.ndarray_transposed";
  buffer.check_encodable(kOp);
  check_dimension(kOp, one);
  check_dimension(kOp, other);
  const AutoreleaseScope scope;
  const auto descriptor = describe();
  messages::transpose_dimensions(descriptor.get(), shape_.size() - 1 - one,
                                 shape_.size() - 1 - other);
  NDArray shown = *this;
  std::swap(shown.shape_[one], shown.shape_[other]);
  std::swap(shown.strides_[one], shown.strides_[other]);
  return view(buffer, shown, descriptor);
}

NDArray NDArray::sliced(metal::CommandBuffer& buffer, std::size_t dimension, std::uint64_t start,
                        std::uint64_t length) const {
  constexpr std::string_view kOp = "mps.ndarray_sliced";
  buffer.check_encodable(kOp);
  check_dimension(kOp, dimension);
  if (length == 0 || start > shape_[dimension] || length > shape_[dimension] - start) {
    refuse(kOp, std::to_string(length) + " from " + std::to_string(start) +
                    " on are not in dimension " + std::to_string(dimension) + " of " +
                    text_of(shape_));
  }
  const AutoreleaseScope scope;
  const auto descriptor = describe();
  messages::slice_dimension(descriptor.get(), shape_.size() - 1 - dimension, {start, length});
  NDArray shown = *this;
  shown.shape_[dimension] = length;
  shown.first_ += start * strides_[dimension];
  return view(buffer, shown, descriptor);
}

void NDArray::write(std::span<const std::byte> bytes) const {
  if (bytes.size() != dense_bytes()) {
    refuse("mps.ndarray_write", "the array has " + std::to_string(dense_bytes()) + " bytes; got " +
                                    std::to_string(bytes.size()));
  }
  // The message takes them as they could be changed, but reads them alone.
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  const AutoreleaseScope scope;
  messages::write_bytes(object_.get(), copy.data(), nullptr);
}

void NDArray::read(std::span<std::byte> bytes) const {
  if (bytes.size() != dense_bytes()) {
    refuse("mps.ndarray_read", "the array has " + std::to_string(dense_bytes()) + " bytes; got " +
                                   std::to_string(bytes.size()));
  }
  const AutoreleaseScope scope;
  messages::read_bytes(object_.get(), bytes.data(), nullptr);
}

void NDArray::check_transfer(std::string_view op, const metal::CommandBuffer& work,
                             const metal::Buffer& buffer, std::size_t offset) const {
  work.check_encodable(op);
  if (offset % element_bytes(type_) != 0) {
    refuse(op, "the offset must be a multiple of " + std::to_string(element_bytes(type_)) +
                   "; got " + std::to_string(offset));
  }
  metal::detail::check_range(op, "the buffer", buffer, offset, dense_bytes());
  if (buffer_ && buffer_->object().get() == buffer.object().get()) {
    refuse(op, "the array lies on this buffer itself");
  }
}

void NDArray::import_from(metal::CommandBuffer& to, const metal::Buffer& source,
                          std::size_t offset) const {
  check_transfer("mps.ndarray_import", to, source, offset);
  const AutoreleaseScope scope;
  messages::import_data(object_.get(), to.object().get(), source.object().get(), raw(type_), offset,
                        nullptr);
}

void NDArray::export_to(metal::CommandBuffer& to, const metal::Buffer& destination,
                        std::size_t offset) const {
  check_transfer("mps.ndarray_export", to, destination, offset);
  const AutoreleaseScope scope;
  messages::export_data(object_.get(), to.object().get(), destination.object().get(), raw(type_),
                        offset, nullptr);
}

bool NDArray::may_overlap(const NDArray& other) const noexcept {
  const bool one_memory = buffer_ && other.buffer_
                              ? buffer_->object().get() == other.buffer_->object().get()
                              : root_.get() == other.root_.get();
  const auto end = [](const NDArray& array) {
    std::uint64_t last = array.first_ + element_bytes(array.type_);
    for (std::size_t i = 0; i < array.shape_.size(); ++i) {
      last += (array.shape_[i] - 1) * array.strides_[i];
    }
    return last;
  };
  return one_memory && first_ < end(other) && other.first_ < end(*this);
}

// ---- NDArrayMatrixMultiplication

namespace {

constexpr std::string_view kProduct = "mps.ndarray_matrix_multiplication";
constexpr std::uint64_t kMostLength = 32766;

Ref<objc::MPSKernel> make_product(const metal::Device& device, std::uint64_t sources, double alpha,
                                  double beta) {
  auto made = detail::make_kernel<objc::MPSNDArrayMatrixMultiplication>(
      messages::init_array_kernel, device.object().get(), sources);
  auto* const kernel = detail::kernel_as<objc::MPSNDArrayMatrixMultiplication>(made);
  messages::set_array_alpha(kernel, alpha);
  messages::set_array_beta(kernel, beta);
  return made;
}

void check_operand(std::string_view name, const NDArray& array, DataType type) {
  if (type != DataType::kFloat32 && type != DataType::kFloat16) {
    refuse(kProduct, "arrays must be Float32 or Float16; they are " + std::string(to_string(type)));
  }
  if (array.type() != type) {
    refuse(kProduct, std::string(name) + " must be " + std::string(to_string(type)) + "; it is " +
                         std::string(to_string(array.type())));
  }
  const std::vector<std::uint64_t>& shape = array.shape();
  if (shape.size() < 2 || shape.size() > 4) {
    refuse(kProduct, std::string(name) + " must have 2 to 4 dimensions; it is " + text_of(shape));
  }
  for (const std::uint64_t length : shape) {
    if (length <= kMostLength) continue;
    refuse(kProduct, std::string(name) + " is " + text_of(shape) +
                         ": MPS is known to be wrong above " + std::to_string(kMostLength) +
                         "; MatrixMultiplication cuts such products");
  }
}

/// The shape of the product. Throws where there is none.
std::vector<std::uint64_t> product_shape(const std::vector<std::uint64_t>& left,
                                         const std::vector<std::uint64_t>& right) {
  const std::size_t rank = std::max(left.size(), right.size());
  const auto at = [rank](const std::vector<std::uint64_t>& shape, std::size_t i) {
    const std::size_t missing = rank - shape.size();
    return i < missing ? 1 : shape[i - missing];
  };
  bool fits = left.back() == right[right.size() - 2];
  std::vector<std::uint64_t> shape;
  for (std::size_t i = 0; i + 2 < rank; ++i) {
    const std::uint64_t l = at(left, i), r = at(right, i);
    fits = fits && (l == r || l == 1 || r == 1);
    shape.push_back(std::max(l, r));
  }
  if (!fits) refuse(kProduct, "there is no product of " + text_of(left) + " and " + text_of(right));
  shape.push_back(left[left.size() - 2]);
  shape.push_back(right.back());
  return shape;
}

void encode_sources(objc::MPSKernel* kernel, metal::CommandBuffer& buffer,
                    std::span<Object* const> sources, const NDArray& result) {
  const AutoreleaseScope scope;
  const auto list = objc::make_array(sources);
  messages::encode_array_kernel(static_cast<objc::MPSNDArrayMatrixMultiplication*>(kernel),
                                buffer.object().get(), list.get(), result.object().get());
}

}  // namespace

NDArrayMatrixMultiplication::NDArrayMatrixMultiplication(const metal::Device& device, double alpha,
                                                         double beta)
    : alpha_(alpha), beta_(beta) {
  detail::check_finite(std::string(kProduct), "alpha", alpha);
  detail::check_finite(std::string(kProduct), "beta", beta);
  product_ = make_product(device, 2, alpha, beta);
  sum_ = make_product(device, 3, alpha, beta);
}

void NDArrayMatrixMultiplication::check(const metal::CommandBuffer& buffer, const NDArray& left,
                                        const NDArray& right, const NDArray& result) const {
  buffer.check_encodable(kProduct);
  check_operand("the left array", left, result.type());
  check_operand("the right array", right, result.type());
  check_operand("the result", result, result.type());
  if (const auto shape = product_shape(left.shape(), right.shape()); shape != result.shape()) {
    refuse(kProduct, "the result must be " + text_of(shape) + "; it is " + text_of(result.shape()));
  }
  if (result.is_view()) refuse(kProduct, "the result must not be a view of another array");
  if (result.may_overlap(left)) refuse(kProduct, "the result overlaps the left array");
  if (result.may_overlap(right)) refuse(kProduct, "the result overlaps the right array");
  detail::check_factor(std::string(kProduct), "alpha", alpha_, result.type());
  detail::check_factor(std::string(kProduct), "beta", beta_, result.type());
}

void NDArrayMatrixMultiplication::encode(metal::CommandBuffer& buffer, const NDArray& left,
                                         const NDArray& right, const NDArray& result) const {
  check(buffer, left, right, result);
  Object* const sources[] = {left.object().get(), right.object().get()};
  encode_sources(product_.get(), buffer, sources, result);
}

void NDArrayMatrixMultiplication::encode(metal::CommandBuffer& buffer, const NDArray& left,
                                         const NDArray& right, const NDArray& added,
                                         const NDArray& result) const {
  check(buffer, left, right, result);
  check_operand("what is added", added, result.type());
  if (added.shape() != result.shape()) {
    refuse(kProduct, "what is added must be " + text_of(result.shape()) + "; it is " +
                         text_of(added.shape()));
  }
  if (result.may_overlap(added)) refuse(kProduct, "the result overlaps what is added");
  Object* const sources[] = {left.object().get(), right.object().get(), added.object().get()};
  encode_sources(sum_.get(), buffer, sources, result);
}

}  // namespace wick::apple::mps
