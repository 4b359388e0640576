#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/cpu_stream.hpp"

namespace wick::cpu {

/// Elements that are worked on as one, whatever the number of threads: a multiple of every vector
/// width, and three rows of f32 of this length stay in a first-level cache.
inline constexpr std::int64_t kBlockElements = 4096;

constexpr std::int64_t blocks_of(std::int64_t n) {
  return (n + kBlockElements - 1) / kBlockElements;
}

/// Calls body(begin, count) for each block of [0, n), in parallel; only the last may be shorter
/// than kBlockElements. Where blocks begin depends on n alone.
template <class Body>
void for_each_block(Stream& stream, std::int64_t n, const Body& body) {
  const std::int64_t grain = row_grain(kBlockElements);
  parallel_for(stream, blocks_of(n), grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t begin = block * kBlockElements;
      body(begin, std::min(kBlockElements, n - begin));
    }
  });
}

}  // namespace wick::cpu
