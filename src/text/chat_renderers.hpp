#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/text/chat_template.hpp"

namespace wick::detail {

/// Collects the pieces of a conversation; neighbours of one kind become one.
class ChatWriter {
 public:
  explicit ChatWriter(std::string style) : style_(std::move(style)) {}

  /// What the template writes.
  void markup(std::string_view text) { add(text, true, false); }
  /// What somebody wrote; `is_assistant` where it is to be learnt.
  void content(std::string_view text, bool is_assistant) { add(text, false, is_assistant); }
  /// The token that ends an assistant's turn.
  void turn_end(std::string_view text) { add(text, true, true); }
  /// Throws Error kArgument: `<style>: message <n>: <problem>`, counting from 1.
  [[noreturn]] void fail(std::size_t message, const std::string& problem) const;
  std::vector<ChatPiece> take() { return std::move(pieces_); }

 private:
  void add(std::string_view text, bool is_markup, bool is_assistant);
  std::string style_;
  std::vector<ChatPiece> pieces_;
};

using ChatRenderer = void (*)(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                              ChatWriter& writer);

void render_chatml(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_qwen2(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_qwen2_5(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_qwen3(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_llama3(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_llama3_1(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_mistral_v1(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_mistral_v2_early(const std::vector<ChatMessage>& messages, bool prompt,
                             ChatWriter& writer);
void render_mistral(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);
void render_mistral_v3(const std::vector<ChatMessage>& messages, bool prompt, ChatWriter& writer);

}  // namespace wick::detail
