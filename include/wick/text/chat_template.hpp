#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace wick {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// A stretch of a rendered conversation.
struct ChatPiece {
  std::string text;
  /// markup of the template: its special tokens are to be parsed; false for what somebody wrote
  bool is_markup = false;
  /// an assistant's words or the token that ends its turn: what training with assistant masks learns
  bool is_assistant = false;
};

/// How a model wants conversations written. Built in, because a checkpoint's Jinja template is a program: each is known by
/// its whole text, and an unknown one is refused, not guessed.
class ChatTemplate {
 public:
  /// "chatml" (also "qwen2", "qwen2.5", "qwen3", which differ in the default system message and thinking), "llama3",
  /// "llama3.1" (also for 3.2: knowledge-cutoff header), "mistral" (v1 … v3 spacing as "mistral", "mistral-v3"). Throws
  /// Error kArgument listing the known names.
  static ChatTemplate named(std::string_view name);
  /// The template of a model folder: `chat_template` of tokenizer_config.json (a string, or a list with one named
  /// "default") or chat_template.jinja. Throws Error kUnsupported with the first line of a template that is not one
  /// of the built-in ones, kArgument when the folder has none (name one instead).
  static ChatTemplate of_model(const std::filesystem::path& folder);
  /// Recognises the text of a Jinja template. Throws as above; `where` names it.
  static ChatTemplate recognise(std::string_view jinja, std::string_view where);
  /// Names that named() takes.
  static std::vector<std::string> names();

  /// The name it was made by.
  const std::string& name() const noexcept { return name_; }
  /// The pieces of a conversation, in order, the beginning-of-text token included as markup. With
  /// `add_generation_prompt` the assistant's next turn is opened. Throws Error kArgument for a role that the template
  /// does not know, or turns in an order that it refuses, with the message's number.
  std::vector<ChatPiece> render(const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const;
  /// Tokens that end an assistant's turn.
  std::vector<std::string> stop_tokens() const;

 private:
  explicit ChatTemplate(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

}  // namespace wick
