#include "train/chat_encoding.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace wick::detail {

namespace {

constexpr std::int32_t kNoTurn = -1;

std::size_t first_byte(std::string_view text) { return static_cast<unsigned char>(text[0]); }

std::size_t common_start(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

std::size_t common_end(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  const auto first_difference = std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend()).first;
  return static_cast<std::size_t>(first_difference - a.rbegin());
}

}  // namespace

// A special token of the markup, or all the text up to the next one.
struct ChatEncoder::Stretch {
  struct Part {
    std::size_t end = 0;  // in the text
    std::int32_t turn = kNoTurn;
  };

  const SpecialToken* special = nullptr;
  std::string text;
  std::vector<Part> parts;  // neighbours differ in their turn

  void add(std::string_view more, std::int32_t turn) {
    text += more;
    if (!parts.empty() && parts.back().turn == turn) {
      parts.back().end = text.size();
    } else {
      parts.push_back({.end = text.size(), .turn = turn});
    }
  }
};

ChatEncoder::ChatEncoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  const auto end = static_cast<std::int32_t>(tokenizer.vocab_size());
  for (std::int32_t id = 0; id < end; ++id) {
    if (!tokenizer.is_special(id)) continue;
    const auto token = tokenizer.id_to_token(id);
    if (token && !token->empty()) special_by_byte_[first_byte(*token)].emplace_back(*token, id);
  }
  for (auto& tokens : special_by_byte_) {
    std::ranges::sort(tokens, [](const SpecialToken& a, const SpecialToken& b) {
      return std::pair(b.first.size(), a.second) < std::pair(a.first.size(), b.second);
    });
  }
}

const ChatEncoder::SpecialToken* ChatEncoder::special_at(std::string_view text) const {
  for (const SpecialToken& token : special_by_byte_[first_byte(text)]) {
    if (text.starts_with(token.first)) return &token;
  }
  return nullptr;
}

bool ChatEncoder::holds_special(std::string_view text) const {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (special_at(text.substr(i)) != nullptr) return true;
  }
  return false;
}

std::vector<ChatEncoder::Stretch> ChatEncoder::cut(std::span<const ChatPiece> pieces) const {
  std::vector<Stretch> stretches;
  std::int32_t last_turn = kNoTurn;
  bool in_turn = false;
  const auto text_stretch = [&]() -> Stretch& {
    if (stretches.empty() || stretches.back().special != nullptr) stretches.emplace_back();
    return stretches.back();
  };
  for (const ChatPiece& piece : pieces) {
    if (piece.text.empty()) continue;
    if (piece.is_assistant && !in_turn) ++last_turn;
    in_turn = piece.is_assistant;
    const std::int32_t turn = in_turn ? last_turn : kNoTurn;
    std::string_view rest = piece.text;
    std::size_t plain = 0;
    while (piece.is_markup && plain < rest.size()) {
      const SpecialToken* special = special_at(rest.substr(plain));
      if (special == nullptr) {
        ++plain;
        continue;
      }
      if (plain > 0) text_stretch().add(rest.substr(0, plain), turn);
      stretches.push_back({.special = special, .parts = {{.turn = turn}}});
      rest.remove_prefix(plain + special->first.size());
      plain = 0;
    }
    if (!rest.empty()) text_stretch().add(rest, turn);
  }
  return stretches;
}

// The special tokens around a text may take spaces from it, and some tokenizers treat the beginning of the whole
// differently: so it is tokenized among them, unless the text must not be searched for special tokens.
std::vector<std::int32_t> ChatEncoder::ids_between(const SpecialToken* before,
                                                   std::string_view text,
                                                   const SpecialToken* after) const {
  const EncodeOptions plain{.add_special_tokens = false, .parse_special_tokens = false};
  if ((before == nullptr && after == nullptr) || holds_special(text)) {
    return tokenizer_.encode(text, plain);
  }
  std::string whole;
  if (before != nullptr) whole += before->first;
  whole += text;
  if (after != nullptr) whole += after->first;
  std::vector<std::int32_t> ids =
      tokenizer_.encode(whole, {.add_special_tokens = false, .parse_special_tokens = true});
  const std::size_t around = (before != nullptr ? 1U : 0U) + (after != nullptr ? 1U : 0U);
  const bool as_expected = ids.size() >= around &&
                           (before == nullptr || ids.front() == before->second) &&
                           (after == nullptr || ids.back() == after->second);
  if (!as_expected) return tokenizer_.encode(text, plain);
  if (after != nullptr) ids.pop_back();
  if (before != nullptr) ids.erase(ids.begin());
  return ids;
}

// The tokens of `ids` that hold something of the stretch's text in [text_begin, text_end). Ids that the text before that
// place has by itself hold nothing of what follows.
std::pair<std::size_t, std::size_t> ChatEncoder::tokens_of(const Stretch& stretch,
                                                           const SpecialToken* before,
                                                           std::span<const std::int32_t> ids,
                                                           std::size_t text_begin,
                                                           std::size_t text_end) const {
  const std::string_view text = stretch.text;
  std::size_t begin = 0;
  if (text_begin > 0) {
    begin = common_start(ids, ids_between(before, text.substr(0, text_begin), nullptr));
  }
  if (text_end == text.size()) return {begin, ids.size()};
  const std::vector<std::int32_t> up_to_end =
      ids_between(before, text.substr(0, text_end), nullptr);
  std::size_t end = common_start(ids, up_to_end);
  if (end < up_to_end.size()) {
    // A token spans the end. What follows it are ids that the rest of the text has by itself.
    const std::vector<std::int32_t> rest = ids_between(nullptr, text.substr(text_end), nullptr);
    end = ids.size() - common_end(ids, rest);
  }
  return {begin, std::max(begin, end)};
}

void ChatEncoder::append(const Stretch& stretch, const SpecialToken* before,
                         const SpecialToken* after, EncodedChat& chat) const {
  if (stretch.special != nullptr) {
    chat.ids.push_back(stretch.special->second);
    chat.turns.push_back(stretch.parts.front().turn);
    return;
  }
  const std::vector<std::int32_t> ids = ids_between(before, stretch.text, after);
  std::vector<std::int32_t> turns(ids.size(), kNoTurn);
  std::size_t text_begin = 0;
  for (const auto& part : stretch.parts) {
    if (part.turn != kNoTurn) {
      const auto [begin, end] = tokens_of(stretch, before, ids, text_begin, part.end);
      std::fill(turns.begin() + static_cast<std::ptrdiff_t>(begin),
                turns.begin() + static_cast<std::ptrdiff_t>(end), part.turn);
    }
    text_begin = part.end;
  }
  chat.ids.insert(chat.ids.end(), ids.begin(), ids.end());
  chat.turns.insert(chat.turns.end(), turns.begin(), turns.end());
}

EncodedChat ChatEncoder::encode(std::span<const ChatPiece> pieces) const {
  const std::vector<Stretch> stretches = cut(pieces);
  EncodedChat chat;
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    const SpecialToken* before = i > 0 ? stretches[i - 1].special : nullptr;
    const SpecialToken* after = i + 1 < stretches.size() ? stretches[i + 1].special : nullptr;
    append(stretches[i], before, after, chat);
  }
  return chat;
}

}  // namespace wick::detail
