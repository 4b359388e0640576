#include "wick/layout/shape.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "wick/base/error.hpp"

namespace wick {

namespace {

Error shape_error(std::span<const std::int64_t> dims, std::string_view rule) {
  return {ErrorKind::kShape, "shape", fmt::format("{}; got [{}]", rule, fmt::join(dims, ","))};
}

// Counts the sizes of a tensor with a zero dimension as if it were 1, so that views stay in range.
void check_element_count(std::span<const std::int64_t> dims) {
  constexpr std::int64_t kLargestElement = 8;
  std::int64_t budget = std::numeric_limits<std::int64_t>::max() / kLargestElement;
  for (const std::int64_t size : dims) budget /= std::max<std::int64_t>(size, 1);
  if (budget == 0) throw shape_error(dims, "the element count overflows");
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) {
  if (dims.size() > kMaxRank) {
    throw shape_error(dims, fmt::format("at most {} dimensions are supported", kMaxRank));
  }
  if (std::ranges::any_of(dims, [](std::int64_t size) { return size < 0; })) {
    throw shape_error(dims, "sizes must not be negative");
  }
  check_element_count(dims);
  std::ranges::copy(dims, dims_.begin());
  rank_ = static_cast<int>(dims.size());
}

std::int64_t Shape::numel() const noexcept {
  std::int64_t count = 1;
  for (const std::int64_t size : dims()) count *= size;
  return count;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.dims(), ","));
}

}  // namespace wick
