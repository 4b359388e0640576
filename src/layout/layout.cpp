#include "layout/layout.hpp"

#include <algorithm>

namespace wick {

namespace {

std::size_t at(int axis) { return static_cast<std::size_t>(axis); }

}  // namespace

Layout contiguous_layout(const Shape& shape) {
  Layout layout{.shape = shape};
  std::int64_t step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    layout.strides[at(axis)] = step;
    step *= std::max<std::int64_t>(shape[axis], 1);
  }
  return layout;
}

bool is_contiguous(const Layout& layout) {
  if (layout.shape.numel() == 0) return true;
  std::int64_t step = 1;
  for (int axis = layout.shape.rank() - 1; axis >= 0; --axis) {
    if (layout.shape[axis] == 1) continue;
    if (layout.strides[at(axis)] != step) return false;
    step *= layout.shape[axis];
  }
  return true;
}

Layout permute(const Layout& layout, std::span<const int> order) {
  std::array<std::int64_t, kMaxRank> dims{};
  Layout result{.strides = {}, .offset = layout.offset};
  for (std::size_t i = 0; i < order.size(); ++i) {
    dims[i] = layout.shape[order[i]];
    result.strides[i] = layout.strides[at(order[i])];
  }
  result.shape = Shape(std::span<const std::int64_t>(dims.data(), order.size()));
  return result;
}

Layout slice(const Layout& layout, int axis, std::int64_t begin, std::int64_t end,
             std::int64_t step) {
  std::array<std::int64_t, kMaxRank> dims{};
  std::ranges::copy(layout.shape.dims(), dims.begin());
  const std::int64_t count = end > begin ? (end - begin - 1) / step + 1 : 0;
  dims[at(axis)] = count;
  Layout result = layout;
  result.shape = Shape(std::span<const std::int64_t>(dims.data(), layout.shape.dims().size()));
  result.offset += begin * layout.strides[at(axis)];
  // Of fewer than two elements nobody takes a step, which may be too large to multiply with.
  if (count > 1) result.strides[at(axis)] *= step;
  return result;
}

std::optional<Layout> broadcast_to(const Layout& layout, const Shape& shape) {
  const int added = shape.rank() - layout.shape.rank();
  if (added < 0) return std::nullopt;
  Layout result{.shape = shape, .strides = {}, .offset = layout.offset};
  for (int axis = added; axis < shape.rank(); ++axis) {
    const std::int64_t from = layout.shape[axis - added];
    if (from == shape[axis]) {
      result.strides[at(axis)] = layout.strides[at(axis - added)];
    } else if (from != 1) {
      return std::nullopt;
    }
  }
  return result;
}

std::optional<Shape> broadcast_shapes(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, kMaxRank> dims{};
  for (int back = 1; back <= rank; ++back) {
    const std::int64_t x = back <= a.rank() ? a[a.rank() - back] : 1;
    const std::int64_t y = back <= b.rank() ? b[b.rank() - back] : 1;
    if (x != y && x != 1 && y != 1) return std::nullopt;
    dims[at(rank - back)] = x == 1 ? y : x;
  }
  return Shape(std::span<const std::int64_t>(dims.data(), at(rank)));
}

namespace {

// Merges neighbours that lie as one dimension; dimensions of size 1 vanish.
Layout collapse(const Layout& layout) {
  std::array<std::int64_t, kMaxRank> dims{};
  Layout result{.strides = {}, .offset = layout.offset};
  int rank = 0;
  for (int axis = 0; axis < layout.shape.rank(); ++axis) {
    const std::int64_t size = layout.shape[axis];
    const std::int64_t stride = layout.strides[at(axis)];
    if (size == 1) continue;
    if (rank > 0 && result.strides[at(rank - 1)] == stride * size) {
      dims[at(rank - 1)] *= size;
      result.strides[at(rank - 1)] = stride;
    } else {
      dims[at(rank)] = size;
      result.strides[at(rank)] = stride;
      ++rank;
    }
  }
  result.shape = Shape(std::span<const std::int64_t>(dims.data(), at(rank)));
  return result;
}

}  // namespace

std::optional<Layout> reshape(const Layout& layout, const Shape& shape) {
  if (shape.numel() == 0 || is_contiguous(layout)) {
    Layout result = contiguous_layout(shape);
    result.offset = layout.offset;
    return result;
  }
  // Fill the merged source dimensions from the innermost outwards with the new sizes.
  const Layout source = collapse(layout);
  Layout result{.shape = shape, .strides = {}, .offset = layout.offset};
  int from = source.shape.rank() - 1;
  std::int64_t left = from >= 0 ? source.shape[from] : 1;
  std::int64_t step = from >= 0 ? source.strides[at(from)] : 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    const std::int64_t size = shape[axis];
    if (size == 1) continue;
    if (left == 1 && from > 0) {
      --from;
      left = source.shape[from];
      step = source.strides[at(from)];
    }
    if (left % size != 0) return std::nullopt;
    result.strides[at(axis)] = step;
    step *= size;
    left /= size;
  }
  return result;
}

std::int64_t extent(const Layout& layout) {
  if (layout.shape.numel() == 0) return 0;
  std::int64_t last = 0;
  for (int axis = 0; axis < layout.shape.rank(); ++axis) {
    last += (layout.shape[axis] - 1) * layout.strides[at(axis)];
  }
  return last + 1;
}

}  // namespace wick
