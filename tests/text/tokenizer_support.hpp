#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "wick/text/tokenizer.hpp"

namespace wick::test {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

inline std::filesystem::path tokenizer_folder(const std::string& name) {
  return std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers" / name;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline json fixture_json(const std::string& name) {
  return json::parse(read_file(tokenizer_folder(name) / "tokenizer.json"));
}

inline Tokenizer fixture_tokenizer(const std::string& name) {
  return Tokenizer::from_file(tokenizer_folder(name));
}

inline Tokenizer tokenizer_of(const json& description) {
  return Tokenizer::from_json(description.dump(), "test");
}

/// A BPE tokenizer without other parts: ids are the places in `tokens`.
inline json bpe(const std::vector<std::string>& tokens, const json& merges) {
  json vocab = json::object();
  for (std::size_t i = 0; i < tokens.size(); ++i) vocab[tokens[i]] = i;
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline const std::vector<std::string>& fixture_names() {
  static const std::vector<std::string> names{"gpt2",      "qwen2",   "llama3",
                                              "llama2-sp", "unigram", "bert-wordpiece"};
  return names;
}

}  // namespace wick::test
