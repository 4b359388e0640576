#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace wick::detail {

/// Numbers of the samples that share a row.
using SampleRow = std::vector<std::int64_t>;

/// Fills rows of `row_length` tokens in the order given, opening a new one when a sample does not fit. `lengths` has the
/// length of every sample; none may be longer than a row.
std::vector<SampleRow> pack_in_order(std::span<const std::int64_t> order,
                                     std::span<const std::int64_t> lengths,
                                     std::int64_t row_length);

/// Fills rows with little padding: within each window of a few thousand samples the longest first, each into the row that
/// it fills best. O(n log n).
std::vector<SampleRow> pack_best_fit(std::span<const std::int64_t> order,
                                     std::span<const std::int64_t> lengths,
                                     std::int64_t row_length);

/// Sorts every `window` samples of `order` by length; equal ones stay as they are.
void sort_windows(std::span<std::int64_t> order, std::span<const std::int64_t> lengths,
                  std::size_t window);

}  // namespace wick::detail
