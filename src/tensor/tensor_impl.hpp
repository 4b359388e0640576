#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "layout/layout.hpp"
#include "layout/tensor_view.hpp"
#include "runtime/storage.hpp"
#include "wick/base/error.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick {

class GradNode;
class Recipe;

/// What autograd keeps with a tensor. A leaf has no producer and collects `grad`; the result of a
/// recorded op has a producer and passes its gradient on.
struct AutogradMeta {
  bool requires_grad = false;
  Tensor grad;
  std::shared_ptr<GradNode> producer;
  int output_index = 0;
};

/// What a Tensor points to.
struct TensorImpl {
  std::shared_ptr<Storage> storage;
  Layout layout;
  DType dtype = DType::kF32;
  std::shared_ptr<AutogradMeta> meta;   ///< null until somebody asks for a gradient
  std::shared_ptr<Recipe> recipe = {};  ///< how autograd makes the memory's contents again; or null
};

namespace detail {

/// The parts of a defined tensor. Throws Error kArgument naming `op` for an undefined one.
const TensorImpl& impl_of(std::string_view op, const Tensor& tensor);

/// A tensor over the same memory with another layout, without a gradient. It keeps the recipe.
Tensor with_layout(const Tensor& tensor, const Layout& layout);

/// The layout of a tensor.
const Layout& layout_of(const Tensor& tensor);

/// A view for a kernel on the current stream; absent for an undefined tensor.
TensorView view(const Tensor& tensor);

/// As above over another layout of the same memory.
TensorView view(const Tensor& tensor, const Layout& layout);

/// True when the first element lies at a multiple of its size.
bool is_aligned(const Tensor& tensor);

/// A dense, aligned copy, without a gradient.
Tensor clone(const Tensor& tensor);

/// The tensor itself without its gradient when it is dense and aligned, else a clone.
Tensor dense(const Tensor& tensor);

/// The same elements on `device`: over the same memory where that is somebody else's (a mapped file's) and the device can
/// work on it, else by to(). For what nobody writes to.
Tensor share_or_move(const Tensor& tensor, Device device);

/// Notes a write to the tensor's memory.
void bump_version(const Tensor& tensor);

/// A tensor as an operand of an error.
Operand describe(std::string_view name, const Tensor& tensor);

}  // namespace detail

}  // namespace wick
