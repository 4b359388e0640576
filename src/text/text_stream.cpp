#include <string_view>
#include <utility>

#include "wick/text/tokenizer.hpp"

namespace wick {

namespace {

// True for `<0x0A>`: with the bytes that follow, such a token may become another text than alone.
bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with(">");
}

}  // namespace

TextStream::TextStream(Tokenizer tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

// Only a window of ids is decoded each time: the tokens of the last text that was sent, for what decoders do at the
// beginning, and the ones since. Text that ends in U+FFFD may be a character whose bytes are not all there.
std::string TextStream::push(std::int32_t id) {
  // Decoding leaves it out: it must not make the window longer.
  if (skip_special_tokens_ && tokenizer_.is_special(id)) return {};
  ids_.push_back(id);
  const std::string text = tokenizer_.decode(ids_, skip_special_tokens_);
  const bool may_change =
      text.ends_with("\xEF\xBF\xBD") || is_byte_token(tokenizer_.id_to_token(id).value_or(""));
  if (may_change || text.size() <= sent_) return {};
  std::string piece = text.substr(sent_);
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(text_begin_));
  text_begin_ = ids_.size();
  sent_ = tokenizer_.decode(ids_, skip_special_tokens_).size();
  return piece;
}

std::string TextStream::finish() {
  const std::string text = tokenizer_.decode(ids_, skip_special_tokens_);
  std::string piece = text.size() > sent_ ? text.substr(sent_) : std::string();
  ids_.clear();
  text_begin_ = 0;
  sent_ = 0;
  return piece;
}

}  // namespace wick
