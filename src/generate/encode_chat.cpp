#include <algorithm>
#include <string>

#include "wick/generate/chat.hpp"

namespace wick {

namespace {

std::vector<std::int32_t> encode_piece(const Tokenizer& tokenizer, const std::string& text,
                                       bool parse_special_tokens) {
  return tokenizer.encode(
      text, {.add_special_tokens = false, .parse_special_tokens = parse_special_tokens});
}

// Whether reading special tokens makes a difference to what somebody wrote.
bool holds_special_token(const Tokenizer& tokenizer, const ChatPiece& piece) {
  return !piece.is_markup &&
         encode_piece(tokenizer, piece.text, true) != encode_piece(tokenizer, piece.text, false);
}

}  // namespace

std::vector<std::int32_t> encode_chat(const Tokenizer& tokenizer,
                                      const std::vector<ChatPiece>& pieces) {
  std::string text;
  for (const ChatPiece& piece : pieces) text += piece.text;
  const bool is_apart = std::any_of(pieces.begin(), pieces.end(), [&](const ChatPiece& piece) {
    return holds_special_token(tokenizer, piece);
  });
  if (!is_apart) return encode_piece(tokenizer, text, true);

  std::vector<std::int32_t> ids;
  for (std::size_t begin = 0; begin < pieces.size();) {
    const bool is_markup = pieces[begin].is_markup;
    std::string stretch;
    while (begin < pieces.size() && pieces[begin].is_markup == is_markup) {
      stretch += pieces[begin++].text;
    }
    const std::vector<std::int32_t> added = encode_piece(tokenizer, stretch, is_markup);
    ids.insert(ids.end(), added.begin(), added.end());
  }
  return ids;
}

}  // namespace wick
