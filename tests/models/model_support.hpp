#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nn/nn_support.hpp"
#include "wick/models/causal_lm.hpp"

namespace wick::test {

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(WICK_TEST_FIXTURES) / "models" / name;
}

/// A copy of a folder's files; adapters and expected values stay behind.
inline void copy_model(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!entry.is_regular_file() || entry.path().filename() == "expected.safetensors") continue;
    std::filesystem::copy_file(entry.path(), to / entry.path().filename());
  }
}

inline Tensor ids_tensor(const std::vector<std::int32_t>& ids, std::int64_t rows = 1) {
  return Tensor::from_values(ids, {rows, static_cast<std::int64_t>(ids.size()) / rows});
}

/// Different ids below 300, the same for the same seed.
inline std::vector<std::int32_t> some_ids(std::size_t count, std::uint32_t seed = 1) {
  std::vector<std::int32_t> ids;
  std::uint32_t state = seed * 2654435761U + 1;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    ids.push_back(static_cast<std::int32_t>(state >> 16) % 300);
  }
  return ids;
}

inline Tensor logits_of(const CausalLm& model, const Tensor& ids, const CausalPass& pass = {}) {
  const NoGradGuard no_gradient;
  return model.logits(model.hidden(ids, pass), pass.context);
}

}  // namespace wick::test
