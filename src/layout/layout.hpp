#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "wick/layout/shape.hpp"

namespace wick {

/// Steps between neighbours along each dimension, in elements; 0 repeats one element.
using Strides = std::array<std::int64_t, kMaxRank>;

/// How a shape lies in memory: pure arithmetic, no pointer.
struct Layout {
  Shape shape;
  Strides strides{};
  std::int64_t offset = 0;  ///< of the first element, in elements

  friend bool operator==(const Layout&, const Layout&) = default;
};

/// Row-major and without gaps.
Layout contiguous_layout(const Shape& shape);

/// True when the elements lie row-major and without gaps (dimensions of size 1 do not count).
bool is_contiguous(const Layout& layout);

/// Dimension i of the result is dimension order[i] of `layout`; `order` must be a permutation.
Layout permute(const Layout& layout, std::span<const int> order);

/// Elements [begin, end) along `axis`, every `step`-th.
Layout slice(const Layout& layout, int axis, std::int64_t begin, std::int64_t end,
             std::int64_t step = 1);

/// The view of `layout` with `shape` under the rules of broadcasting (sizes matched from the last
/// dimension, 1 repeats); nothing where the rules do not allow it.
std::optional<Layout> broadcast_to(const Layout& layout, const Shape& shape);

/// The shape both broadcast to; nothing where they do not fit, or the rank would pass kMaxRank.
std::optional<Shape> broadcast_shapes(const Shape& a, const Shape& b);

/// The same elements in row-major order with another shape, where strides can say so; the element
/// counts must be equal.
std::optional<Layout> reshape(const Layout& layout, const Shape& shape);

/// Number of elements spanned from the first to the last one touched; 0 when empty.
std::int64_t extent(const Layout& layout);

}  // namespace wick
