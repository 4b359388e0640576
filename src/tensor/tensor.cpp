#include "wick/tensor/tensor.hpp"

#include <fmt/format.h>

#include <utility>

#include "runtime/args/elementwise_args.hpp"
#include "runtime/describe.hpp"
#include "runtime/launch.hpp"
#include "tensor/tensor_impl.hpp"

namespace wick {

namespace {

const TensorImpl& require(const std::shared_ptr<TensorImpl>& impl, std::string_view op) {
  if (impl == nullptr) {
    throw Error(ErrorKind::kArgument, std::string(op), "the tensor is undefined");
  }
  return *impl;
}

Tensor make_tensor(std::shared_ptr<Storage> storage, const Layout& layout, DType dtype,
                   std::shared_ptr<Recipe> recipe = {}) {
  return Tensor(std::make_shared<TensorImpl>(TensorImpl{.storage = std::move(storage),
                                                        .layout = layout,
                                                        .dtype = dtype,
                                                        .meta = {},
                                                        .recipe = std::move(recipe)}));
}

std::size_t byte_count(const Shape& shape, DType dtype) {
  return static_cast<std::size_t>(shape.numel()) * size_of(dtype);
}

void check_byte_count(std::string_view op, std::size_t bytes, DType dtype, const Shape& shape) {
  if (bytes == byte_count(shape, dtype)) return;
  throw Error(ErrorKind::kShape, std::string(op),
              fmt::format("{} {} needs {} bytes, got {}", to_string(shape), to_string(dtype),
                          byte_count(shape, dtype), bytes));
}

}  // namespace

namespace detail {

const TensorImpl& impl_of(std::string_view op, const Tensor& tensor) {
  return require(tensor.impl(), op);
}

Tensor with_layout(const Tensor& tensor, const Layout& layout) {
  const TensorImpl& impl = *tensor.impl();
  return make_tensor(impl.storage, layout, impl.dtype, impl.recipe);
}

const Layout& layout_of(const Tensor& tensor) { return tensor.impl()->layout; }

TensorView view(const Tensor& tensor) {
  return tensor.defined() ? view(tensor, tensor.impl()->layout) : TensorView{};
}

TensorView view(const Tensor& tensor, const Layout& layout) {
  const TensorImpl& impl = *tensor.impl();
  impl.storage->note_use();
  const auto offset = static_cast<std::size_t>(layout.offset) * size_of(impl.dtype);
  return {.data = impl.storage->data() + offset,
          .dtype = impl.dtype,
          .shape = layout.shape,
          .strides = layout.strides,
          .device = impl.storage->device(),
          .present = true};
}

bool is_aligned(const Tensor& tensor) {
  void* start = tensor.impl()->storage->data();
  std::size_t space = SIZE_MAX;
  const void* const given = start;
  return std::align(size_of(tensor.dtype()), 0, start, space) == given;
}

Tensor clone(const Tensor& tensor) {
  Tensor copy = Tensor::empty(tensor.shape(), tensor.dtype(), tensor.device());
  launch(kernels::copy, tensor.device(), CopyArgs{.src = view(tensor), .dst = view(copy)});
  return copy;
}

Tensor dense(const Tensor& tensor) {
  return tensor.is_contiguous() && is_aligned(tensor) ? tensor.detach() : clone(tensor);
}

Tensor share_or_move(const Tensor& tensor, Device device) {
  const TensorImpl& impl = impl_of("to", tensor);
  const std::shared_ptr<Storage>& host = impl.storage;
  if (device == kCpuDevice || host->device() != kCpuDevice || host->owner() == nullptr ||
      host->bytes() == 0) {
    return tensor.to(device);
  }
  const std::span memory(host->data(), host->bytes());
  auto shared = backend_of(device).share_host_memory(memory, host->owner());
  if (shared == nullptr) return tensor.to(device);
  return make_tensor(Storage::wrap(device, memory, std::move(shared)), impl.layout, impl.dtype);
}

void bump_version(const Tensor& tensor) { tensor.impl()->storage->bump_version(); }

Operand describe(std::string_view name, const Tensor& tensor) {
  if (!tensor.defined())
    return {.name = std::string(name), .shape = {}, .dtype = "undefined", .device = "none"};
  return {.name = std::string(name),
          .shape = tensor.shape().to_vector(),
          .dtype = std::string(to_string(tensor.dtype())),
          .device = to_string(tensor.device())};
}

}  // namespace detail

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  return make_tensor(Storage::allocate(device, byte_count(shape, dtype)), contiguous_layout(shape),
                     dtype);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  launch(kernels::fill, device, FillArgs{.out = detail::view(tensor), .value = value});
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, 0, dtype, device);
}

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, DType dtype, const Shape& shape,
                          Device device) {
  check_byte_count("from_values", bytes.size(), dtype, shape);
  Tensor tensor = empty(shape, dtype, device);
  backend_of(device).copy_from_host(current_stream(device), detail::view(tensor).data, bytes.data(),
                                    bytes.size());
  return tensor;
}

Tensor Tensor::from_external(std::span<std::byte> bytes, DType dtype, const Shape& shape,
                             std::shared_ptr<void> owner) {
  check_byte_count("from_external", bytes.size(), dtype, shape);
  return make_tensor(Storage::wrap(kCpuDevice, bytes, std::move(owner)), contiguous_layout(shape),
                     dtype);
}

Tensor Tensor::to(Device device) const {
  const Device from = this->device();
  if (from == device) return *this;
  if (from != kCpuDevice && device != kCpuDevice) return to(kCpuDevice).to(device);
  const Tensor source = detail::dense(detach());
  Tensor moved = empty(shape(), dtype(), device);
  const std::size_t bytes = byte_count(shape(), dtype());
  void* const target = detail::view(moved).data;
  const void* const elements = detail::view(source).data;
  if (device == kCpuDevice) {
    backend_of(from).copy_to_host(current_stream(from), target, elements, bytes);
  } else {
    current_stream(from).synchronize();
    backend_of(device).copy_from_host(current_stream(device), target, elements, bytes);
  }
  return moved;
}

const Shape& Tensor::shape() const { return require(impl_, "shape").layout.shape; }

int Tensor::rank() const { return require(impl_, "rank").layout.shape.rank(); }

std::int64_t Tensor::numel() const { return require(impl_, "numel").layout.shape.numel(); }

std::size_t Tensor::count_for(std::string_view op) const {
  return static_cast<std::size_t>(require(impl_, op).layout.shape.numel());
}

std::int64_t Tensor::dim(int axis) const {
  const Shape& sizes = require(impl_, "dim").layout.shape;
  const int from_front = axis < 0 ? axis + sizes.rank() : axis;
  if (from_front < 0 || from_front >= sizes.rank()) {
    throw Error(ErrorKind::kShape, "dim",
                fmt::format("axis {} is out of range for rank {}", axis, sizes.rank()),
                {detail::describe("tensor", *this)});
  }
  return sizes[from_front];
}

DType Tensor::dtype() const { return require(impl_, "dtype").dtype; }

Device Tensor::device() const { return require(impl_, "device").storage->device(); }

std::span<const std::int64_t> Tensor::strides() const {
  const Layout& layout = require(impl_, "strides").layout;
  return {layout.strides.data(), static_cast<std::size_t>(layout.shape.rank())};
}

bool Tensor::is_contiguous() const {
  return wick::is_contiguous(require(impl_, "is_contiguous").layout);
}

void Tensor::read_bytes(std::span<std::byte> bytes, DType wanted) const {
  const DType own = dtype();
  if (own != wanted && !(own == DType::kBool && wanted == DType::kU8)) {
    throw Error(ErrorKind::kDtype, "to_vector",
                fmt::format("the elements are {}, not {}", to_string(own), to_string(wanted)),
                {detail::describe("tensor", *this)}, "cast() converts");
  }
  const Tensor source = detail::dense(*this);
  Backend& backend = backend_of(device());
  Stream& stream = current_stream(device());
  backend.copy_to_host(stream, bytes.data(), detail::view(source).data, bytes.size());
}

void Tensor::check_single() const {
  if (count_for("item") == 1) return;
  throw Error(ErrorKind::kShape, "item", "the tensor must have exactly one element",
              {detail::describe("tensor", *this)});
}

bool Tensor::requires_grad() const {
  const auto& meta = require(impl_, "requires_grad").meta;
  return meta != nullptr && meta->requires_grad;
}

bool Tensor::is_leaf() const {
  const auto& meta = require(impl_, "is_leaf").meta;
  return meta == nullptr || meta->producer == nullptr;
}

const Tensor& Tensor::set_requires_grad(bool value) const {
  require(impl_, "set_requires_grad");
  if (value && !is_floating(dtype())) {
    throw Error(ErrorKind::kDtype, "set_requires_grad", "only floating tensors have gradients",
                {detail::describe("tensor", *this)});
  }
  if (!is_leaf()) {
    throw Error(ErrorKind::kArgument, "set_requires_grad",
                "the tensor is the result of a recorded op", {detail::describe("tensor", *this)},
                "detach() gives a leaf");
  }
  if (impl_->meta == nullptr) impl_->meta = std::make_shared<AutogradMeta>();
  impl_->meta->requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const {
  const auto& meta = require(impl_, "grad").meta;
  return meta == nullptr ? Tensor() : meta->grad;
}

void Tensor::set_grad(const Tensor& grad) const {
  require(impl_, "set_grad");
  if (impl_->meta == nullptr) impl_->meta = std::make_shared<AutogradMeta>();
  if (grad.defined()) {
    const auto refuse = [&](ErrorKind kind, std::string_view what) {
      throw Error(kind, "set_grad",
                  fmt::format("the gradient must have the {} of the tensor", what),
                  {detail::describe("tensor", *this), detail::describe("grad", grad)});
    };
    if (grad.shape() != shape()) refuse(ErrorKind::kShape, "shape");
    if (grad.dtype() != dtype()) refuse(ErrorKind::kDtype, "dtype");
    if (grad.device() != device()) refuse(ErrorKind::kDevice, "device");
  }
  impl_->meta->grad = grad.defined() ? grad.detach() : grad;
}

Tensor Tensor::detach() const {
  const TensorImpl& impl = require(impl_, "detach");
  return make_tensor(impl.storage, impl.layout, impl.dtype, impl.recipe);
}

std::uint64_t Tensor::version() const { return require(impl_, "version").storage->version(); }

bool Tensor::shares_storage_with(const Tensor& other) const {
  return require(impl_, "shares_storage_with").storage ==
         require(other.impl_, "shares_storage_with").storage;
}

}  // namespace wick
