#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wick::detail {

/// SentencePiece's compiled normalisation rules: a map from short strings to what replaces them, as a double-array trie
/// over UTF-8 bytes whose leaves point into a list of strings that end in a zero byte.
class CharacterMap {
 public:
  /// From the base64 text that tokenizer.json has. Throws Error kParse with `where`.
  CharacterMap(std::string_view base64, std::string where);
  /// Replaces graphemes that the rules know, and in the others single characters. As in the reference library the
  /// shortest rule that a grapheme begins with stands for all of it. Throws Error kParse for a broken rule.
  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> find(std::string_view text) const;

  std::string where_;
  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace wick::detail
