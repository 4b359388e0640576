#pragma once

#include <string>
#include <string_view>
#include <vector>

// Tokens of preprocessed Metal Shading Language.

namespace softmetal::msl {

enum class TokenKind { kSpace, kDirective, kWord, kNumber, kString, kPunctuation };

struct Token {
  std::string text;
  TokenKind kind;
  int line;  // of the caller's source, as the preprocessor's markers give it

  bool is(std::string_view what) const { return text == what; }
  bool is_word() const { return kind == TokenKind::kWord; }
};

/// Splits a text. Throws std::runtime_error for a comment or string without an end.
std::vector<Token> split_tokens(std::string_view source);

}  // namespace softmetal::msl
