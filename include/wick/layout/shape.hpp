#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace wick {

/// Tensors have at most this many dimensions.
inline constexpr int kMaxRank = 6;

/// The sizes of a tensor's dimensions, outermost first. Rank 0 is a scalar with one element.
///
/// A Shape is valid by construction: rank at most kMaxRank, no negative size, and an element count
/// that, times the largest element size, fits in 63 bits.
class Shape {
 public:
  Shape() = default;
  /// Throws Error kShape naming the sizes when a rule above is broken.
  Shape(std::initializer_list<std::int64_t> dims);
  /// As above, from a run-time list.
  explicit Shape(std::span<const std::int64_t> dims);

  /// Number of dimensions.
  int rank() const noexcept { return rank_; }
  /// Size of dimension `axis`, which must be in [0, rank).
  std::int64_t operator[](int axis) const noexcept { return dims_[static_cast<std::size_t>(axis)]; }
  /// Product of all sizes; 1 for a scalar.
  std::int64_t numel() const noexcept;
  /// The sizes, outermost first.
  std::span<const std::int64_t> dims() const noexcept {
    return {dims_.data(), static_cast<std::size_t>(rank_)};
  }
  /// The sizes as a vector.
  std::vector<std::int64_t> to_vector() const { return {dims().begin(), dims().end()}; }

  friend bool operator==(const Shape& a, const Shape& b) noexcept = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// "[8,128,4096]"; "[]" for a scalar.
std::string to_string(const Shape& shape);

}  // namespace wick
