#pragma once

#include <cstdint>

#include "base/philox.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/random_args.hpp"

namespace wick::cpu {

/// The words of `counters` counters from `first` on, four each, by vectors. Writes whole ones: `words` has
/// room for a number of counters that is a multiple of 16.
void draw_philox_words(PhiloxKey key, std::uint64_t first, std::int64_t counters,
                       std::uint32_t* words);

/// The counter of elements 0 to 3; element i uses lane i mod 4 of this plus i / 4.
inline std::uint64_t first_counter(const RandomKeyArgs& key) {
  if (!key.offset_base) return key.offset;
  return key.offset + static_cast<std::uint64_t>(*data_as<const std::int64_t>(key.offset_base));
}

}  // namespace wick::cpu
