#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "train/data_support.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/ops/move.hpp"
#include "wick/train/trainer.hpp"

namespace wick::test {

constexpr std::int32_t kTinyVocabulary = 61;

/// A decoder of a few thousand weights.
inline ModelConfig tiny_config(const std::string& extra = "") {
  return parse_model_config(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "vocab_size": 61, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
      "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
      "rms_norm_eps": 1e-6, "hidden_act": "silu", "initializer_range": 0.2,
      "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2)" +
                            extra + "}");
}

/// Sequences in which a token mostly decides the next one; the first two tokens of each are a prompt.
inline Dataset tiny_dataset(std::int64_t num_samples, std::uint32_t seed = 1,
                            std::int64_t longest = 20) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t bound) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(bound));
  };
  Dataset dataset;
  for (std::int64_t i = 0; i < num_samples; ++i) {
    std::vector<std::int32_t> ids{static_cast<std::int32_t>(below(kTinyVocabulary))};
    const std::int64_t length = 4 + below(longest - 3);
    while (static_cast<std::int64_t>(ids.size()) < length) {
      const bool is_noise = below(5) == 0;
      ids.push_back(static_cast<std::int32_t>(is_noise ? below(kTinyVocabulary)
                                                       : (ids.back() * 3 + 1) % kTinyVocabulary));
    }
    std::vector<std::uint8_t> marks(ids.size(), 1);
    marks[0] = marks[1] = 0;
    dataset.add(ids, marks);
  }
  return dataset;
}

/// A model with its active adapter, both fresh.
struct TinyRun {
  std::shared_ptr<CausalLm> model;
  std::shared_ptr<LoraAdapter> adapter;
};

inline TinyRun tiny_lora(LoraConfig config = {}, const ModelConfig& model = tiny_config()) {
  TinyRun run{.model = CausalLm::create(model, 7), .adapter = nullptr};
  if (config.target_modules.empty()) config.target_modules.all_linear = true;
  run.adapter = LoraAdapter::create(config, run.model->lora_host(), 11);
  run.model->add_adapter("default", run.adapter);
  run.model->set_active_adapters({{"default"}});
  return run;
}

inline std::vector<float> floats(const Tensor& tensor) {
  return cast(tensor.detach(), DType::kF32).to_vector<float>();
}

/// All elements of all tensors, one behind the other.
inline std::vector<float> floats(const NamedTensors& tensors) {
  std::vector<float> all;
  for (const auto& [name, tensor] : tensors) {
    const std::vector<float> values = floats(tensor);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// ‖got − expected‖ / ‖expected‖; NaN where a number is.
inline double relative_norm_error(const std::vector<float>& got,
                                  const std::vector<float>& expected) {
  if (got.size() != expected.size() || got.empty()) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto value = static_cast<double>(expected[i]);
    difference += std::pow(static_cast<double>(got[i]) - value, 2);
    norm += value * value;
  }
  return std::sqrt(difference / norm);
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Every file below a folder with its bytes.
inline std::map<std::string, std::string> folder_bytes(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files[std::filesystem::relative(entry.path(), folder).string()] = file_bytes(entry.path());
  }
  return files;
}

inline std::vector<std::string> names_in(const std::map<std::string, std::string>& files) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files) names.push_back(name);
  return names;
}

}  // namespace wick::test
