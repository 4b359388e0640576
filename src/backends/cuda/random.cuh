#pragma once

#include <cmath>
#include <cstdint>

#include "backends/cuda/launch.cuh"
#include "base/philox.hpp"
#include "runtime/args/random_args.hpp"

namespace wick::cuda {

/// RandomKeyArgs as kernels take it. `offset_base` is read on the device, so that a captured graph draws new
/// numbers each time.
struct RandomKey {
  PhiloxKey key;
  std::uint64_t offset;
  const std::int64_t* offset_base;
};

inline RandomKey random_key(const RandomKeyArgs& args) {
  return {philox_key(args.seed), args.offset, data_of<const std::int64_t>(args.offset_base)};
}

/// The words of elements [first, first + 4), `first` being a multiple of 4.
__device__ __forceinline__ PhiloxCounter words_of(const RandomKey& key, std::int64_t first) {
  std::uint64_t counter = key.offset + static_cast<std::uint64_t>(first / 4);
  if (key.offset_base != nullptr) counter += static_cast<std::uint64_t>(*key.offset_base);
  return philox4x32(philox_counter(counter), key.key);
}

/// Which elements are dropped, and by what the others grow.
struct DropoutRule {
  RandomKey key;
  std::uint32_t threshold;
  float factor;

  /// Selected, not multiplied by 0: what is dropped is zero even where it was infinite.
  __device__ float apply(std::uint32_t word, float x) const {
    return uniform_bits(word) >= threshold ? x * factor : 0.0F;
  }
};

inline DropoutRule dropout_rule(double p, const RandomKeyArgs& key) {
  return {random_key(key), dropout_threshold(p), static_cast<float>(1.0 / (1.0 - p))};
}

}  // namespace wick::cuda
