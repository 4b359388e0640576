#pragma once

#include "layout/layout.hpp"
#include "wick/layout/device.hpp"
#include "wick/layout/dtype.hpp"

namespace wick {

/// What a kernel sees of a tensor: a borrowed address and its layout. Goes only downwards and is
/// never stored. `data` addresses the first element. A view without data is "not given".
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;
  Strides strides{};
  Device device;
  /// false for an optional operand that was left out
  bool present = false;

  explicit operator bool() const noexcept { return present; }
  std::int64_t dim(int axis) const noexcept { return shape[axis]; }
  std::int64_t stride(int axis) const noexcept { return strides[static_cast<std::size_t>(axis)]; }
  int rank() const noexcept { return shape.rank(); }
  std::int64_t numel() const noexcept { return shape.numel(); }
};

}  // namespace wick
