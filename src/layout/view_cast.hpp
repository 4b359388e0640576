#pragma once

#include <type_traits>

#include "base/check.hpp"
#include "layout/tensor_view.hpp"

namespace wick {

/// The typed address of a view's first element, checked against its dtype. The one cast from a
/// tensor's memory to a typed pointer outside the kernels.
template <class T>
T* data_as(const TensorView& view) {
  detail::check(view.dtype == DTypeOf<std::remove_const_t<T>>::value,
                "data_as: the view has another dtype");
  return static_cast<T*>(view.data);
}

}  // namespace wick
