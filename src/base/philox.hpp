#pragma once

#include <cmath>
#include <cstdint>

// The random numbers that every device draws alike.

namespace wick {

/// N words. Not std::array, whose members a GPU's compiler turns into traps.
template <int N>
struct PhiloxWords {
  std::uint32_t words[N];
  constexpr std::uint32_t operator[](int i) const { return words[i]; }
};
using PhiloxCounter = PhiloxWords<4>;
using PhiloxKey = PhiloxWords<2>;

inline constexpr PhiloxKey kPhiloxMultipliers = {{0xD2511F53U, 0xCD9E8D57U}};
inline constexpr PhiloxKey kPhiloxWeyl = {{0x9E3779B9U, 0xBB67AE85U}};
inline constexpr int kPhiloxRounds = 10;

constexpr PhiloxKey philox_key(std::uint64_t seed) {
  return {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
}

constexpr PhiloxCounter philox_counter(std::uint64_t count) {
  return {{static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(count >> 32), 0, 0}};
}

/// Philox4x32-10: four random words from a counter and a key, with no state. Salmon et al.,
/// "Parallel random numbers: as easy as 1, 2, 3", 2011.
constexpr PhiloxCounter philox4x32(PhiloxCounter c, PhiloxKey key) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t first = std::uint64_t{kPhiloxMultipliers[0]} * c[0];
    const std::uint64_t second = std::uint64_t{kPhiloxMultipliers[1]} * c[2];
    c = {{static_cast<std::uint32_t>(second >> 32) ^ c[1] ^ key[0],
          static_cast<std::uint32_t>(second),
          static_cast<std::uint32_t>(first >> 32) ^ c[3] ^ key[1],
          static_cast<std::uint32_t>(first)}};
    key = {{key[0] + kPhiloxWeyl[0], key[1] + kPhiloxWeyl[1]}};
  }
  return c;
}

/// The 24 random bits of a word that make its uniform number, u = bits · 2⁻²⁴ in [0, 1).
constexpr std::uint32_t uniform_bits(std::uint32_t word) { return word >> 8; }

/// Exact: u has as many bits as a float.
constexpr float uniform(std::uint32_t word) {
  return static_cast<float>(uniform_bits(word)) * 0x1p-24F;
}

/// u >= p exactly when uniform_bits(word) >= dropout_threshold(p), for p in [0, 1].
inline std::uint32_t dropout_threshold(double p) {
  return static_cast<std::uint32_t>(std::ceil(p * 0x1p24));
}

}  // namespace wick
