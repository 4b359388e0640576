#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wick/ops/rope.hpp"

namespace wick {

/// The two shapes of transformer that Wick runs.
enum class ModelFamily {
  kDecoder,  ///< causal, pre-norm, rotary: Llama, Qwen2, Qwen3, Mistral
  kEncoder,  ///< bidirectional, post-norm, learned positions: BERT
};

/// One description of every model that Wick knows, in the words of Hugging Face's config.json.
struct ModelConfig {
  std::string model_type;    ///< "llama", "qwen2", "qwen3", "mistral", "bert"
  std::string architecture;  ///< architectures[0]
  ModelFamily family = ModelFamily::kDecoder;

  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_position_embeddings = 0;
  double norm_eps = 1e-6;           ///< rms_norm_eps or layer_norm_eps
  std::string hidden_act = "silu";  ///< decoders: silu; encoders: gelu, gelu_new, gelu_pytorch_tanh
  double initializer_range = 0.02;

  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;
  std::vector<std::int64_t> layer_windows;  ///< sliding window of each layer; 0 sees everything
  RopeOptions rope;
  std::int64_t type_vocab_size = 0;  ///< encoders

  std::string dtype;  ///< what the checkpoint says: "bfloat16", "float32", …; may be empty
  std::optional<std::int64_t> bos_token_id;
  std::optional<std::int64_t> pad_token_id;
  std::vector<std::int64_t> eos_token_ids;

  std::string json;  ///< the text that this was read from

  /// The token that ends a text, which training appends: the first of eos_token_ids, if there is one.
  std::optional<std::int32_t> eos_token_id() const {
    if (eos_token_ids.empty()) return std::nullopt;
    return static_cast<std::int32_t>(eos_token_ids.front());
  }
};

/// Reads config.json of a folder, and generation_config.json where it is there: its bos, eos and pad ids win. Throws Error
/// kIo; kParse with file and key; kUnsupported naming a model type, activation, rotary type or quantisation that Wick
/// does not compute.
ModelConfig load_model_config(const std::filesystem::path& folder);

/// As above from the text of a config.json; `where` names it in errors.
ModelConfig parse_model_config(std::string_view json, std::string_view where = "config.json");

/// A config.json that transformers 4 and 5 read.
std::string to_json(const ModelConfig& config);

}  // namespace wick
