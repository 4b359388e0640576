#pragma once

#include <string_view>

#include "case.hpp"

namespace wick::bench {

/// Sizes of the cases "train" and "decode", whose model is a Llama; MODEL_SIZES of cases.py.
enum ModelSize {
  kHidden,
  kIntermediate,
  kLayers,
  kHeads,
  kKeyHeads,
  kVocabulary,
  kBatch,
  kLength,
  kRank
};

/// Of all weights; gains are one.
inline constexpr float kModelScale = 0.05F;

/// The stream of a tensor's values, by its name in a checkpoint of Hugging Face.
std::uint64_t seed_of(std::string_view name);

/// The ids of a case's batch, row by row.
std::vector<std::int32_t> tokens(const Case& which);

}  // namespace wick::bench
