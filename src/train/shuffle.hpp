#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace wick::detail {

/// Spreads the bits of a number: each bit of the result depends on all of them (the finalizer of SplitMix64).
constexpr std::uint64_t spread_bits(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

/// The order of samples in an epoch: the same for the same seed and epoch with every compiler and library, which
/// std::shuffle does not promise.
class ShuffleRandom {
 public:
  ShuffleRandom(std::uint64_t seed, std::int64_t epoch) noexcept
      : state_(spread_bits(spread_bits(seed + kStep) + static_cast<std::uint64_t>(epoch) * kStep)) {
  }

  /// Evenly spread over [0, bound).
  std::uint64_t below(std::uint64_t bound) noexcept {
    // The last, incomplete round of 2^64 / bound numbers would favour small results.
    const std::uint64_t incomplete = (~std::uint64_t{0} % bound + 1) % bound;
    std::uint64_t number = next();
    while (number > ~std::uint64_t{0} - incomplete) number = next();
    return number % bound;
  }

  template <class T>
  void shuffle(std::vector<T>& values) noexcept {
    for (std::size_t n = values.size(); n > 1; --n) {
      std::swap(values[n - 1], values[static_cast<std::size_t>(below(n))]);
    }
  }

 private:
  static constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15U;

  std::uint64_t next() noexcept { return spread_bits(state_ += kStep); }

  std::uint64_t state_;
};

}  // namespace wick::detail
