#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "wick/layout/device.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/layout/shape.hpp"

namespace wick {

class Storage;
struct AutogradMeta;
struct TensorView;
struct TensorImpl;

/// A handle on an n-dimensional array: shared memory, a layout over it, and a gradient slot.
///
/// Copying a Tensor copies the handle: both name the same elements and the same gradient. A
/// default-made Tensor is undefined and may only be assigned to or asked defined(). Free functions in
/// wick/ops/ compute with tensors; members only make, describe, read and differentiate them.
class Tensor {
 public:
  /// An undefined tensor.
  Tensor() = default;

  /// A dense tensor with undefined contents. Throws Error kDevice, kOutOfMemory.
  static Tensor empty(const Shape& shape, DType dtype, Device device = kCpuDevice);
  /// A dense tensor of zeros.
  static Tensor zeros(const Shape& shape, DType dtype, Device device = kCpuDevice);
  /// A dense tensor whose elements are all `value`, converted to `dtype`.
  static Tensor full(const Shape& shape, double value, DType dtype, Device device = kCpuDevice);
  /// A dense tensor of T's dtype with a copy of `values` in row-major order. Throws Error kShape when
  /// their number is not shape.numel().
  template <class T>
  static Tensor from_values(std::span<const T> values, const Shape& shape,
                            Device device = kCpuDevice) {
    return from_bytes(std::as_bytes(values), DTypeOf<T>::value, shape, device);
  }
  /// As above from a vector.
  template <class T>
  static Tensor from_values(const std::vector<T>& values, const Shape& shape,
                            Device device = kCpuDevice) {
    return from_values(std::span<const T>(values), shape, device);
  }
  /// As above from the bytes of the elements.
  static Tensor from_bytes(std::span<const std::byte> bytes, DType dtype, const Shape& shape,
                           Device device = kCpuDevice);
  /// A dense tensor over host memory that somebody else owns: nothing is copied, and `owner` is kept
  /// until the last tensor over it is gone. `bytes` may start at any address. Only ops whose name ends
  /// in an underscore write to it. Throws Error kShape when the size does not fit.
  static Tensor from_external(std::span<std::byte> bytes, DType dtype, const Shape& shape,
                              std::shared_ptr<void> owner);

  /// False for a default-made tensor.
  bool defined() const noexcept { return impl_ != nullptr; }
  /// The sizes of the dimensions.
  const Shape& shape() const;
  /// Size along `axis`; negative axes count from the end. Throws Error kShape when out of range.
  std::int64_t dim(int axis) const;
  /// Number of dimensions.
  int rank() const;
  /// Number of elements.
  std::int64_t numel() const;
  /// Type of the elements.
  DType dtype() const;
  /// Where the elements are.
  Device device() const;
  /// Steps between neighbours along each dimension, in elements.
  std::span<const std::int64_t> strides() const;
  /// True when the elements lie row-major without gaps.
  bool is_contiguous() const;

  /// The elements in row-major order, copied to the host; waits for the device. T must match the dtype
  /// exactly (u8 also reads bool), else Error kDtype.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> values(count_for("to_vector"));
    read_bytes(std::as_writable_bytes(std::span<T>(values)), DTypeOf<T>::value);
    return values;
  }
  /// The only element of a tensor with one element; otherwise as to_vector(). Throws Error kShape.
  template <class T>
  T item() const {
    check_single();
    T value{};
    read_bytes(std::as_writable_bytes(std::span<T>(&value, 1)), DTypeOf<T>::value);
    return value;
  }

  /// True when backward() will compute a gradient for this tensor or for what it was made from.
  bool requires_grad() const;
  /// Asks for a gradient (only of floating leaves). Returns the tensor itself. Throws Error kDtype, and
  /// Error kArgument for the result of a recorded op.
  const Tensor& set_requires_grad(bool value) const;
  /// True when no recorded op made this tensor.
  bool is_leaf() const;
  /// The gradient accumulated by backward(); undefined before.
  Tensor grad() const;
  /// Replaces the gradient; an undefined tensor clears it. Throws Error kShape, kDtype or kDevice when
  /// it does not match.
  void set_grad(const Tensor& grad) const;
  /// The same elements without a gradient.
  Tensor detach() const;
  /// The same elements on `device`, without a gradient: a dense copy, or the tensor itself when it is there already.
  /// Waits until they have left their device. Throws Error kDevice, kOutOfMemory.
  Tensor to(Device device) const;

  /// Number of in-place writes to the memory of this tensor so far.
  std::uint64_t version() const;
  /// True when both handles name the same memory.
  bool shares_storage_with(const Tensor& other) const;

  /// For the layers of Wick itself: the parts behind the handle.
  const std::shared_ptr<TensorImpl>& impl() const noexcept { return impl_; }
  /// For the layers of Wick itself.
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

 private:
  void read_bytes(std::span<std::byte> bytes, DType dtype) const;
  std::size_t count_for(std::string_view op) const;
  void check_single() const;

  std::shared_ptr<TensorImpl> impl_;
};

}  // namespace wick
