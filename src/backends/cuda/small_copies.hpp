#pragma once

#include <array>

#include "backends/cuda/products.hpp"

namespace wick::cuda {

inline constexpr int kMostSmallCopies = 6;

/// to [rows, columns] = scale · from, rounded to 16 bits; to is dense and begins at a multiple of 16 bytes, columns are a
/// multiple of 8, from is dense along either axis and f32 or of to's dtype.
struct SmallCopy {
  Matrix from;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  void* to = nullptr;
  float scale = 1;
};

struct SmallCopies {
  std::array<SmallCopy, kMostSmallCopies> each;
  int count = 0;
  unsigned* zeros = nullptr;  ///< zero_count words that become 0 in the same launch
  std::int64_t zero_count = 0;

  void add(const SmallCopy& copy) { each[static_cast<std::size_t>(count++)] = copy; }
};

/// Enqueues all of them in one launch, at least one of which is not empty.
void copy_small(Stream& stream, const SmallCopies& copies, DType dtype);

}  // namespace wick::cuda
