#include "model_case.hpp"

namespace wick::bench {

// FNV-1a.
std::uint64_t seed_of(std::string_view name) {
  std::uint64_t hash = 2166136261U;
  for (const char c : name)
    hash = ((hash ^ static_cast<unsigned char>(c)) * 16777619U) & 0xFFFFFFFF;
  return hash & 0xFFFFF;
}

std::vector<std::int32_t> tokens(const Case& which) {
  const std::int64_t count = which.size(kBatch) * which.size(kLength);
  std::vector<std::int32_t> ids;
  for (const float value : input(count, kTokens, 1, "f32")) {
    const auto vocabulary = static_cast<float>(which.size(kVocabulary));
    ids.push_back(static_cast<std::int32_t>((value + 1) / 2 * vocabulary));
  }
  return ids;
}

}  // namespace wick::bench
