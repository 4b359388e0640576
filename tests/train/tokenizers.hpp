#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "train/data_support.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick::test {

inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

inline std::string tokenizer_json(const std::string& name) {
  std::ifstream file(std::filesystem::path(WICK_TEST_FIXTURES) / "tokenizers" / name /
                     "tokenizer.json");
  return {std::istreambuf_iterator<char>(file), {}};
}

// The fixture llama3 with the names that its template uses.
inline Tokenizer llama3_with_headers() {
  std::string json = tokenizer_json("llama3");
  json = replaced(json, "<|im_start|>", "<|start_header_id|>");
  json = replaced(json, "<|endoftext|>", "<|end_header_id|>");
  json = replaced(json, "<|im_end|>", "<|eot_id|>");
  return Tokenizer::from_json(json, "llama3 with headers");
}

// Special tokens that take the spaces around them.
inline Tokenizer qwen2_with_greedy_tokens() {
  std::string json = replaced(tokenizer_json("qwen2"), "\"lstrip\": false", "\"lstrip\": true");
  return Tokenizer::from_json(replaced(json, "\"rstrip\": false", "\"rstrip\": true"), "greedy");
}

// A space is put before the first word of a text, but not after a special token.
inline Tokenizer unigram_with_first_space() {
  return Tokenizer::from_json(replaced(tokenizer_json("unigram"), "\"prepend_scheme\": \"always\"",
                                       "\"prepend_scheme\": \"first\""),
                              "first space");
}

inline const Tokenizer& qwen2() {
  static const Tokenizer tokenizer = fixture_tokenizer("qwen2");
  return tokenizer;
}

struct NamedTokenizer {
  std::string name;
  Tokenizer tokenizer;
};

inline std::vector<NamedTokenizer> tokenizers() {
  return {{"gpt2", fixture_tokenizer("gpt2")},
          {"qwen2", qwen2()},
          {"llama3", fixture_tokenizer("llama3")},
          {"llama3 with headers", llama3_with_headers()},
          {"llama2-sp", fixture_tokenizer("llama2-sp")},
          {"unigram", fixture_tokenizer("unigram")},
          {"qwen2 with greedy tokens", qwen2_with_greedy_tokens()},
          {"unigram with first space", unigram_with_first_space()}};
}

}  // namespace wick::test
