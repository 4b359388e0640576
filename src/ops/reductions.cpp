#include "ops/reductions.hpp"

#include <optional>

#include "ops/layouts.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick::detail {

ReducedAxes reduced_axes(const Check& check, const Tensor& x, const ReduceOptions& options) {
  std::vector<bool> is_reduced(static_cast<std::size_t>(x.rank()), options.axes.empty());
  for (const int axis : options.axes) {
    const auto from_front = static_cast<std::size_t>(check.axis("x", x, axis));
    check.that(!is_reduced[from_front], ErrorKind::kShape, "axis {} is named twice", axis);
    is_reduced[from_front] = true;
  }
  ReducedAxes axes;
  std::vector<int> reduced;
  std::vector<std::int64_t> kept;
  std::vector<std::int64_t> with_ones;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const std::int64_t size = x.shape()[axis];
    if (is_reduced[static_cast<std::size_t>(axis)]) {
      reduced.push_back(axis);
      with_ones.push_back(1);
      axes.count *= size;
    } else {
      axes.order.push_back(axis);
      kept.push_back(size);
      with_ones.push_back(size);
    }
  }
  axes.order.insert(axes.order.end(), reduced.begin(), reduced.end());
  axes.num_reduced = static_cast<int>(reduced.size());
  axes.kept = Shape(kept);
  axes.with_ones = Shape(with_ones);
  return axes;
}

Tensor reduce_sum(const Tensor& x, const ReducedAxes& axes, bool keepdim, double factor) {
  const Tensor source = aligned(x);
  const DType dtype = is_floating(x.dtype()) ? x.dtype() : DType::kI64;
  Tensor out = Tensor::empty(axes.kept, dtype, x.device());
  launch(kernels::sum, x.device(),
         ReduceArgs{.x = view(source, permute(layout_of(source), axes.order)),
                    .out = view(out),
                    .num_reduced = axes.num_reduced,
                    .factor = factor});
  return keepdim ? with_shape(out, axes.with_ones) : out;
}

Tensor expand_gradient(const Tensor& dy, const ReducedAxes& axes, const Shape& shape,
                       double factor) {
  const Tensor small = with_shape(scale(dy, factor), axes.with_ones);
  return clone(with_layout(small, *broadcast_to(layout_of(small), shape)));
}

Tensor rows_along(const Tensor& x, int axis) {
  const Tensor last = move_axis_last(aligned(x), axis);
  const std::int64_t D = last.shape()[last.rank() - 1];
  std::int64_t R = 1;
  for (int i = 0; i + 1 < last.rank(); ++i) R *= last.shape()[i];
  const Shape rows{R, D};
  if (const std::optional<Layout> layout = reshape(layout_of(last), rows)) {
    return with_layout(last, *layout);
  }
  return with_shape(clone(last), rows);
}

Tensor from_rows(const Tensor& rows, const Shape& shape, int axis, std::int64_t size) {
  std::vector<std::int64_t> moved;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i != axis) moved.push_back(shape[i]);
  }
  moved.push_back(size);
  return move_axis_from_last(with_shape(rows, Shape(moved)), axis);
}

Tensor scatter_gradient(const Tensor& dy, const Tensor& indices, const Shape& shape, int axis) {
  const Tensor dy_rows = dense_rows(move_axis_last(dy, axis));
  const Tensor index_rows = dense_rows(move_axis_last(indices, axis));
  const std::int64_t D = shape[axis];
  Tensor dx = Tensor::empty({dy_rows.dim(0), D}, dy.dtype(), dy.device());
  launch(kernels::scatter_rows, dy.device(),
         ScatterRowsArgs{.dy = view(dy_rows), .indices = view(index_rows), .dx = view(dx)});
  return from_rows(dx, shape, axis, D);
}

}  // namespace wick::detail
