#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "wick/generate/generate.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/ops/move.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick::test {

using Ids = std::vector<std::int32_t>;

inline std::filesystem::path fixture_model(const std::string& name) {
  return std::filesystem::path(WICK_TEST_FIXTURES) / "models" / name;
}

/// As Python's `chr(byte)` of GPT-2's table: a visible character for each byte, in UTF-8.
inline std::string byte_character(unsigned byte) {
  const auto is_visible = [](unsigned b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  };
  unsigned code = byte;
  if (!is_visible(byte)) {
    code = 256;
    for (unsigned b = 0; b < byte; ++b) code += is_visible(b) ? 0 : 1;
  }
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0U | code >> 6), static_cast<char>(0x80U | (code & 0x3FU))};
}

inline std::string byte_characters(std::string_view text) {
  std::string result;
  for (const char c : text) result += byte_character(static_cast<unsigned char>(c));
  return result;
}

/// A byte-level tokenizer: ids 0 … 255 are the bytes themselves, then come `pieces`, which only a model writes (there are no merges
/// that lead to them), then special tokens.
inline std::string byte_tokenizer_json(const std::vector<std::string>& pieces,
                                       const std::vector<std::string>& special_tokens) {
  using detail::Json;
  Json vocab = Json::object();
  int next = 0;
  for (unsigned byte = 0; byte < 256; ++byte) vocab[byte_character(byte)] = next++;
  for (const std::string& piece : pieces) vocab[byte_characters(piece)] = next++;
  Json added = Json::array();
  for (const std::string& token : special_tokens) {
    added.push_back({{"id", next++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json byte_level{{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", true},
                        {"use_regex", true}};
  return Json{{"version", "1.0"},
              {"truncation", nullptr},
              {"padding", nullptr},
              {"added_tokens", added},
              {"normalizer", nullptr},
              {"pre_tokenizer", byte_level},
              {"post_processor", nullptr},
              {"decoder", byte_level},
              {"model",
               {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", false},
                {"vocab", vocab},
                {"merges", Json::array()}}}}
      .dump();
}

inline Tokenizer byte_tokenizer(const std::vector<std::string>& pieces,
                                const std::vector<std::string>& special_tokens) {
  return Tokenizer::from_json(byte_tokenizer_json(pieces, special_tokens), "byte tokenizer");
}

/// A model of which we know what it says: after token a always token `next.at(a)`, and after a token that is not in the table
/// that token again. The probabilities of all other tokens are equal, and small.
inline std::shared_ptr<CausalLm> scripted_model(std::int64_t vocab_size,
                                                const std::map<std::int32_t, std::int32_t>& next,
                                                const std::string& more_config = "",
                                                std::int64_t positions = 512) {
  const std::string v = std::to_string(vocab_size);
  const ModelConfig config = parse_model_config(
      R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1,
          "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 4,
          "tie_word_embeddings": false, "hidden_size": )" +
      v + R"(, "vocab_size": )" + v + R"(, "max_position_embeddings": )" +
      std::to_string(positions) + more_config + "}");
  auto model = CausalLm::create(config, 1);
  const auto size = static_cast<std::size_t>(vocab_size);
  std::vector<float> one_hot(size * size, 0);
  std::vector<float> head(size * size, 0);
  for (std::size_t token = 0; token < size; ++token) {
    one_hot[token * size + token] = 1;
    const auto found = next.find(static_cast<std::int32_t>(token));
    const std::size_t after = found == next.end() ? token : static_cast<std::size_t>(found->second);
    head[after * size + token] = 1;
  }
  for (const auto& [name, tensor] : model->parameters()) {
    if (name == "model.embed_tokens.weight") {
      copy_(tensor, Tensor::from_values(one_hot, tensor.shape()));
    } else if (name == "lm_head.weight") {
      copy_(tensor, Tensor::from_values(head, tensor.shape()));
    } else if (name.find("norm") == std::string::npos) {
      copy_(tensor, Tensor::zeros(tensor.shape(), DType::kF32));
    }
  }
  return model;
}

/// What the next tokens are when each is the likeliest and the whole text is read anew for each of them.
inline Ids greedy_without_cache(const CausalLm& model, Ids ids, int count) {
  Ids added;
  for (int i = 0; i < count; ++i) {
    const auto length = static_cast<std::int64_t>(ids.size());
    const Tensor hidden = model.hidden(Tensor::from_values(ids, {1, length}));
    const auto logits = model.logits(slice(hidden, 1, length - 1, length)).to_vector<float>();
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    ids.push_back(static_cast<std::int32_t>(best));
    added.push_back(ids.back());
  }
  return added;
}

}  // namespace wick::test
