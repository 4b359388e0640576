#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/text/chat_template.hpp"
#include "wick/text/tokenizer.hpp"

namespace wick::detail {

/// A conversation as ids.
struct EncodedChat {
  std::vector<std::int32_t> ids;
  /// for each id the number of the assistant's turn that it belongs to, -1 for what is no assistant's. A token that holds
  /// text of both belongs to the assistant
  std::vector<std::int32_t> turns;
};

/// Tokenizes rendered conversations.
///
/// The ids are those of the whole rendered text, special tokens of the markup included: text between two special tokens is
/// tokenized in one piece, however many pieces of the template and of content make it up. What only looks like a
/// special token, because somebody wrote it into a message, becomes ordinary text.
class ChatEncoder {
 public:
  /// Keeps a reference to the tokenizer.
  explicit ChatEncoder(const Tokenizer& tokenizer);
  /// The ids of a conversation, and whose they are.
  EncodedChat encode(std::span<const ChatPiece> pieces) const;

 private:
  struct Stretch;
  using SpecialToken = std::pair<std::string, std::int32_t>;

  const SpecialToken* special_at(std::string_view text) const;
  bool holds_special(std::string_view text) const;
  std::vector<Stretch> cut(std::span<const ChatPiece> pieces) const;
  std::vector<std::int32_t> ids_between(const SpecialToken* before, std::string_view text,
                                        const SpecialToken* after) const;
  std::pair<std::size_t, std::size_t> tokens_of(const Stretch& stretch, const SpecialToken* before,
                                                std::span<const std::int32_t> ids,
                                                std::size_t text_begin, std::size_t text_end) const;
  void append(const Stretch& stretch, const SpecialToken* before, const SpecialToken* after,
              EncodedChat& chat) const;

  const Tokenizer& tokenizer_;
  std::array<std::vector<SpecialToken>, 256>
      special_by_byte_;  // by the first byte, the longest first
};

}  // namespace wick::detail
