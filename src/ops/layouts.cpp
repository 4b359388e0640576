#include "ops/layouts.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/launch.hpp"

namespace wick::detail {

namespace {

Shape rows_shape(const Shape& shape) {
  const std::int64_t D = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
  std::int64_t R = 1;
  for (int axis = 0; axis + 1 < shape.rank(); ++axis) R *= shape[axis];
  return {R, D};
}

}  // namespace

Tensor as_rows(const Tensor& x) {
  const Shape rows = rows_shape(x.shape());
  const std::optional<Layout> layout = wick::reshape(layout_of(x), rows);
  if (layout && (layout->strides[1] == 1 || rows[1] <= 1) && is_aligned(x)) {
    return with_layout(x, *layout);
  }
  return with_shape(dense(x), rows);
}

Tensor dense_rows(const Tensor& x) { return with_shape(dense(x), rows_shape(x.shape())); }

Tensor with_shape(const Tensor& x, const Shape& shape) {
  Layout layout = contiguous_layout(shape);
  layout.offset = layout_of(x).offset;
  return with_layout(x, layout);
}

Tensor dense_last_axis(const Tensor& x) {
  const Layout& layout = layout_of(x);
  const int last = x.rank() - 1;
  const bool is_dense =
      last < 0 || layout.strides[static_cast<std::size_t>(last)] == 1 || layout.shape[last] <= 1;
  return is_dense && is_aligned(x) ? x.detach() : clone(x);
}

Tensor aligned(const Tensor& x) { return is_aligned(x) ? x.detach() : clone(x); }

namespace {

std::vector<int> axes_up_to(int rank) {
  std::vector<int> order(static_cast<std::size_t>(rank));
  for (int axis = 0; axis < rank; ++axis) order[static_cast<std::size_t>(axis)] = axis;
  return order;
}

}  // namespace

Tensor move_axis_last(const Tensor& x, int axis) {
  std::vector<int> order = axes_up_to(x.rank());
  std::rotate(order.begin() + axis, order.begin() + axis + 1, order.end());
  return with_layout(x, permute(layout_of(x), order));
}

Tensor move_axis_from_last(const Tensor& x, int axis) {
  std::vector<int> order = axes_up_to(x.rank());
  std::rotate(order.begin() + axis, order.end() - 1, order.end());
  return with_layout(x, permute(layout_of(x), order));
}

Tensor sum_to_shape(const Tensor& gradient, const Shape& shape) {
  if (gradient.shape() == shape) return gradient;
  const int added = gradient.rank() - shape.rank();
  std::vector<int> order;
  std::vector<int> reduced;
  for (int axis = 0; axis < gradient.rank(); ++axis) {
    const bool kept = axis >= added && shape[axis - added] == gradient.shape()[axis];
    (kept ? order : reduced).push_back(axis);
  }
  order.insert(order.end(), reduced.begin(), reduced.end());
  Tensor result = Tensor::empty(shape, gradient.dtype(), gradient.device());
  launch(kernels::sum, gradient.device(),
         ReduceArgs{.x = view(gradient, permute(layout_of(gradient), order)),
                    .out = view(result),
                    .num_reduced = static_cast<int>(reduced.size())});
  return result;
}

Shape with_dim(const Shape& shape, int axis, std::int64_t size) {
  std::vector<std::int64_t> dims = shape.to_vector();
  dims[static_cast<std::size_t>(axis)] = size;
  return Shape(dims);
}

Shape without_last(const Shape& shape) {
  return Shape(shape.dims().first(shape.dims().size() - 1));
}

Shape with_last(const Shape& shape, std::int64_t size) {
  std::vector<std::int64_t> dims = shape.to_vector();
  dims.push_back(size);
  return Shape(dims);
}

}  // namespace wick::detail
