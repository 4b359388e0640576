#pragma once

#include <array>
#include <cstdint>

namespace wick::reference {

using PhiloxWords = std::array<std::uint32_t, 4>;

/// Philox-4x32 with ten rounds. A round replaces the counter (c₀, c₁, c₂, c₃) by
/// (hi(m₁ c₂) ⊕ c₁ ⊕ k₀, lo(m₁ c₂), hi(m₀ c₀) ⊕ c₃ ⊕ k₁, lo(m₀ c₀)); between rounds each half of
/// the key grows by its Weyl constant. Salmon et al. 2011.
constexpr PhiloxWords philox_ref(PhiloxWords counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    if (round > 0) key = {key[0] + 0x9E3779B9U, key[1] + 0xBB67AE85U};
    const std::uint64_t from_0 = 0xD2511F53ULL * counter[0];
    const std::uint64_t from_2 = 0xCD9E8D57ULL * counter[2];
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    counter = {high(from_2) ^ counter[1] ^ key[0], low(from_2), high(from_0) ^ counter[3] ^ key[1],
               low(from_0)};
  }
  return counter;
}

/// A stretch of the stream of `seed` that begins at counter `first`.
struct PhiloxStream {
  std::uint64_t seed = 0;
  std::uint64_t first = 0;

  /// The four words of counter first + n.
  constexpr PhiloxWords words(std::uint64_t n) const {
    const std::uint64_t count = first + n;
    return philox_ref(
        {static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(count >> 32), 0, 0},
        {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  }

  /// The 24 upper bits of the word of element i: lane i mod 4 of counter first + i / 4.
  constexpr std::uint32_t bits(std::int64_t i) const {
    return words(static_cast<std::uint64_t>(i / 4))[static_cast<std::size_t>(i % 4)] >> 8;
  }

  /// bits(i) · 2⁻²⁴, exactly.
  constexpr double uniform(std::int64_t i) const { return bits(i) * 0x1p-24; }
};

}  // namespace wick::reference
