#pragma once

// What the double references compute with. Standard library only: a reference shares no code with what it
// checks.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

namespace wick::reference {

/// A dense row-major array of doubles.
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<double> data;

  Array() = default;
  /// Zeros.
  explicit Array(std::vector<std::int64_t> dims)
      : shape(std::move(dims)), data(static_cast<std::size_t>(count(shape))) {}
  Array(std::vector<std::int64_t> dims, std::vector<double> values)
      : shape(std::move(dims)), data(std::move(values)) {}

  static std::int64_t count(const std::vector<std::int64_t>& dims) {
    return std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>());
  }
  std::int64_t numel() const { return static_cast<std::int64_t>(data.size()); }
  std::int64_t rank() const { return static_cast<std::int64_t>(shape.size()); }
  /// Size of an axis; negative ones count from the end.
  std::int64_t dim(std::int64_t axis) const {
    return shape.at(static_cast<std::size_t>(axis < 0 ? axis + rank() : axis));
  }
  double& operator[](std::int64_t i) { return data[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return data[static_cast<std::size_t>(i)]; }
};

/// The position of flat row-major index `flat` of `shape`, one number per axis.
inline std::vector<std::int64_t> unravel(std::int64_t flat,
                                         const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> index(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return index;
}

/// The flat index of a position in an array of `shape` under broadcasting: axes of size 1 and missing
/// leading axes do not count.
inline std::int64_t ravel_broadcast(const std::vector<std::int64_t>& index,
                                    const std::vector<std::int64_t>& shape) {
  std::int64_t flat = 0;
  const std::size_t skipped = index.size() - shape.size();
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    flat = flat * shape[axis] + (shape[axis] == 1 ? 0 : index[axis + skipped]);
  }
  return flat;
}

/// f(a, b) element by element with broadcasting.
inline Array broadcast_apply(const Array& a, const Array& b,
                             const std::function<double(double, double)>& f) {
  std::vector<std::int64_t> shape(std::max(a.shape.size(), b.shape.size()));
  for (std::size_t back = 1; back <= shape.size(); ++back) {
    const std::int64_t x = back <= a.shape.size() ? a.shape[a.shape.size() - back] : 1;
    const std::int64_t y = back <= b.shape.size() ? b.shape[b.shape.size() - back] : 1;
    if (x != y && x != 1 && y != 1) throw std::logic_error("the shapes do not broadcast");
    shape[shape.size() - back] = x == 1 ? y : x;
  }
  Array out(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const auto index = unravel(i, shape);
    out[i] = f(a[ravel_broadcast(index, a.shape)], b[ravel_broadcast(index, b.shape)]);
  }
  return out;
}

}  // namespace wick::reference
