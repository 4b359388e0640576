#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "wick/text/chat_template.hpp"

namespace wick::detail {

/// What the lines of a file hold.
enum class RecordKind {
  kMessages,          ///< {"messages": [...]}
  kPromptCompletion,  ///< {"prompt": ..., "completion": ...}: both strings, or both lists of messages
  kText,              ///< {"text": ...}
};

struct TextRecord {
  std::string text;
};

struct PromptRecord {
  std::string prompt;
  std::string completion;
};

struct ChatRecord {
  std::vector<ChatMessage> messages;
  std::size_t num_prompt_messages =
      0;  ///< of those the first that are a prompt: nothing in them is learnt
};

using Record = std::variant<TextRecord, PromptRecord, ChatRecord>;

/// The kind of a file with this first line. Throws Error kParse with what is wrong in the line; the file and the line's
/// number are the caller's to add.
RecordKind kind_of_record(std::string_view line);

/// Reads a line as a record of a kind; keys that the kind does not have are ignored. Throws Error kParse as above, and
/// kUnsupported for tools and for content that is not text.
Record parse_record(std::string_view line, RecordKind kind);

}  // namespace wick::detail
