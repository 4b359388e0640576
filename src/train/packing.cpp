#include "train/packing.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace wick::detail {

namespace {

// Enough for rows that end up nearly full; small enough that an epoch still comes in random order.
constexpr std::size_t kPackingWindow = 4096;

std::int64_t length_of(std::span<const std::int64_t> lengths, std::int64_t sample) {
  return lengths[static_cast<std::size_t>(sample)];
}

// Samples by length, the shortest first. Equal ones stay in their order, which a shuffle has made: hence the position.
std::vector<std::int64_t> by_length(std::span<const std::int64_t> samples,
                                    std::span<const std::int64_t> lengths) {
  std::vector<std::pair<std::int64_t, std::size_t>> keys;
  keys.reserve(samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    keys.emplace_back(length_of(lengths, samples[i]), i);
  }
  std::ranges::sort(keys);
  std::vector<std::int64_t> sorted;
  sorted.reserve(samples.size());
  for (const auto& [length, position] : keys) sorted.push_back(samples[position]);
  return sorted;
}

void pack_window(std::span<const std::int64_t> window, std::span<const std::int64_t> lengths,
                 std::int64_t row_length, std::vector<SampleRow>& rows) {
  std::map<std::int64_t, std::vector<std::size_t>> rows_by_space;
  const std::vector<std::int64_t> shortest_first = by_length(window, lengths);
  for (auto place = shortest_first.rbegin(); place != shortest_first.rend(); ++place) {
    const std::int64_t sample = *place;
    const std::int64_t length = length_of(lengths, sample);
    std::int64_t space = row_length;
    std::size_t row = rows.size();
    const auto best = rows_by_space.lower_bound(length);
    if (best == rows_by_space.end()) {
      rows.emplace_back();
    } else {
      space = best->first;
      row = best->second.back();
      best->second.pop_back();
      if (best->second.empty()) rows_by_space.erase(best);
    }
    rows[row].push_back(sample);
    if (space > length) rows_by_space[space - length].push_back(row);
  }
}

}  // namespace

std::vector<SampleRow> pack_in_order(std::span<const std::int64_t> order,
                                     std::span<const std::int64_t> lengths,
                                     std::int64_t row_length) {
  std::vector<SampleRow> rows;
  std::int64_t space = 0;
  for (const std::int64_t sample : order) {
    const std::int64_t length = length_of(lengths, sample);
    if (rows.empty() || length > space) {
      rows.emplace_back();
      space = row_length;
    }
    rows.back().push_back(sample);
    space -= length;
  }
  return rows;
}

std::vector<SampleRow> pack_best_fit(std::span<const std::int64_t> order,
                                     std::span<const std::int64_t> lengths,
                                     std::int64_t row_length) {
  std::vector<SampleRow> rows;
  for (std::size_t begin = 0; begin < order.size(); begin += kPackingWindow) {
    const std::size_t count = std::min(kPackingWindow, order.size() - begin);
    pack_window(order.subspan(begin, count), lengths, row_length, rows);
  }
  return rows;
}

void sort_windows(std::span<std::int64_t> order, std::span<const std::int64_t> lengths,
                  std::size_t window) {
  for (std::size_t begin = 0; begin < order.size(); begin += window) {
    const auto part = order.subspan(begin, std::min(window, order.size() - begin));
    std::ranges::copy(by_length(part, lengths), part.begin());
  }
}

}  // namespace wick::detail
