#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
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
/// its whole text, and an unknown one is refused, not guessed. Tools, thinking switches and dates are not taken: a
/// conversation is written as the template writes it when it is given none of them.
///
/// What each writes, `\n` being a line feed, S, U and A the words of system, user and assistant, and [A end] what an
/// assistant's turn is (ChatPiece::is_assistant):
///
/// - chatml: for every message `<|im_start|>role\n` words `<|im_end|>\n`; of an assistant's turn [A `<|im_end|>`]. The
///   prompt for the next turn is `<|im_start|>assistant\n`. No token begins the text, nothing is trimmed, a system
///   message may stand anywhere.
/// - qwen2: as chatml; a conversation that does not begin with a system message gets "You are a helpful assistant."
/// - qwen2.5: as chatml; there it gets "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
/// - qwen3: as chatml, without a default. An answer's thoughts, all up to `</think>`, are left out of the turns before
///   the last question. A turn after it that ends the conversation, or has thoughts, begins with
///   `<think>\n` thoughts `\n</think>\n\n`, empty where there are none. The prompt leaves thinking to the model.
/// - llama3: `<|begin_of_text|>`, then for every message `<|start_header_id|>role<|end_header_id|>\n\n` words
///   `<|eot_id|>`; of an assistant's turn [A `<|eot_id|>`]. The prompt is the assistant's header. White space around the
///   words is trimmed.
/// - llama3.1 (and 3.2): as llama3, but there is always one system turn first, which begins
///   `Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n` and then has S, if given. The date is the one
///   that the templates themselves fall back on; 3.2 would take today's where it can, and the same conversation would
///   give other text every day.
/// - mistral-v1 (7B Instruct v0.1): `<s>`, then `[INST] U [/INST]` [A `</s>`] and a space after each end.
/// - mistral-v2-early (v0.2 as first published): as mistral-v1 without that space.
/// - mistral (v0.2 as it is now): `<s>`, then ` [INST] U [/INST] ` [A `</s>`]; S and `\n\n` before the first U.
/// - mistral-v3 (v0.3 as it is now): `<s>`, then `[INST] U[/INST] ` [A `</s>`] with A trimmed. S and `\n\n` stand before
///   the last U, and only where that ends the conversation: one that ends with an answer is written without S.
///
/// The Mistral styles take user and assistant in turns, the user first, a system message before them where S is
/// named; they have no prompt to add. The others take any order.
class ChatTemplate {
 public:
  /// One of names(), or "llama3.2" for llama3.1, "mistral-v2" for mistral. Throws Error kArgument listing the known
  /// names.
  static ChatTemplate named(std::string_view name);
  /// The template of a model folder: chat_template.jinja, or else `chat_template` of tokenizer_config.json (a string, or
  /// a list with one named "default"). Throws Error kUnsupported as recognise(), kArgument when the folder has none
  /// (name one instead), kIo when a file cannot be read, kParse when tokenizer_config.json breaks its format.
  static ChatTemplate of_model(const std::filesystem::path& folder);
  /// Recognises the text of a Jinja template, which must be a known one to the last space; only the kind of line ends and
  /// one line end at the end are free. Throws Error kUnsupported with its first line when it is none that is built in;
  /// `where` names it.
  static ChatTemplate recognise(std::string_view jinja, std::string_view where);
  /// Names that named() takes.
  static std::vector<std::string> names();

  /// The name it was made by.
  const std::string& name() const noexcept { return name_; }
  /// The pieces of a conversation, in order, the beginning-of-text token included as markup; no two neighbours are of one
  /// kind. With `add_generation_prompt` the assistant's next turn is opened. Throws Error kArgument for no messages, a
  /// role that the template does not know, or turns in an order that it refuses, with the message's number from 1.
  std::vector<ChatPiece> render(const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) const;
  /// Tokens that end an assistant's turn.
  std::vector<std::string> stop_tokens() const;

 private:
  explicit ChatTemplate(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

}  // namespace wick
