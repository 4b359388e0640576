#pragma once

#include <cstdint>

namespace wick::detail {

/// Number `index` of stream `stream` of a seed: uniform in [0, 1), a multiple of 2⁻⁵³. Words 0 and 1 of Philox-4x32-10
/// with the index in the counter's lower half and the stream in its upper one.
/// Source: Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405
double uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) noexcept;

}  // namespace wick::detail
