#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "text/components.hpp"
#include "text/token_model.hpp"

namespace wick::detail {

/// A stretch of a text: an added token, or text without one (id -1).
struct Segment {
  std::string text;
  std::int32_t id = -1;
  bool is_first = false;  ///< it begins where the whole text begins
};

/// Tokens that are found in a text before it is normalised and split.
class AddedTokens {
 public:
  /// Reads "added_tokens". Throws Error kParse.
  AddedTokens(const Json& json, const std::string& where, const Normalizer& normalizer);
  AddedTokens() = default;

  /// Cuts a text at added tokens and normalises what lies between. Without `special`, tokens marked special are text like
  /// any other.
  std::vector<Segment> split(std::string_view text, const Normalizer& normalizer,
                             bool special) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool is_special(std::int32_t id) const { return special_.contains(id); }
  const TokenSet& special() const { return special_; }

 private:
  struct Token {
    std::string content;
    std::int32_t id = 0;
    bool single_word = false;
    bool lstrip = false;
    bool rstrip = false;
    bool special = false;
  };
  // The tokens of one pass by their first byte, the longest first.
  using ByFirstByte = std::array<std::vector<Token>, 256>;

  static void add(ByFirstByte& tokens, Token token);
  static const Token* match(const ByFirstByte& tokens, std::string_view text, std::size_t at,
                            bool special);
  static void cut(const ByFirstByte& tokens, const Segment& segment, bool special,
                  std::vector<Segment>& out);

  Vocabulary vocabulary_;
  TokenSet special_;
  ByFirstByte raw_{};         // looked for in the text as it is
  ByFirstByte normalized_{};  // looked for after normalisation
  bool has_raw_ = false;
  bool has_normalized_ = false;
};

}  // namespace wick::detail
