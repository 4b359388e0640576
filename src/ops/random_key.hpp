#pragma once

#include "ops/checks.hpp"
#include "runtime/args/random_args.hpp"
#include "wick/ops/random.hpp"

namespace wick::detail {

/// Checks a key against the op's device and makes it a kernel's.
RandomKeyArgs key_args(const Check& check, const RandomKey& key, Device device);

/// The key a gradient function draws the same numbers with; `offset_base` comes back from the saved tensors.
struct SavedKey {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;

  explicit SavedKey(const RandomKey& key) : seed(key.seed), offset(key.offset) {}
  RandomKeyArgs with(const Tensor& offset_base) const {
    return {.seed = seed, .offset = offset, .offset_base = view(offset_base)};
  }
};

}  // namespace wick::detail
