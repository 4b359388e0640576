#include "text/chat_renderers.hpp"

#include <algorithm>

#include "base/quote.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

using Messages = std::vector<ChatMessage>;

bool is_assistant(const ChatMessage& message) { return message.role == "assistant"; }

// What Jinja's trim and Python's strip take away, of ASCII.
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string_view without_leading_lines(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  return text;
}

std::string_view without_lines(std::string_view text) {
  text = without_leading_lines(text);
  while (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

void check_roles(const Messages& messages, const ChatWriter& writer) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "user" || role == "assistant" || role == "system") continue;
    writer.fail(i, "role " + quote(role) + " is not one of system, user, assistant");
  }
}

// <|im_start|>role\ncontent<|im_end|>\n
void im_turn(const ChatMessage& message, ChatWriter& writer) {
  writer.markup("<|im_start|>" + message.role + "\n");
  writer.content(message.content, is_assistant(message));
  if (is_assistant(message)) {
    writer.turn_end("<|im_end|>");
  } else {
    writer.markup("<|im_end|>");
  }
  writer.markup("\n");
}

void render_im(const Messages& messages, bool prompt, std::string_view system, ChatWriter& writer) {
  check_roles(messages, writer);
  if (!system.empty() && messages[0].role != "system") {
    im_turn({"system", std::string(system)}, writer);
  }
  for (const ChatMessage& message : messages) im_turn(message, writer);
  if (prompt) writer.markup("<|im_start|>assistant\n");
}

void llama_turn(std::string_view role, std::string_view content, ChatWriter& writer) {
  writer.markup("<|start_header_id|>" + std::string(role) + "<|end_header_id|>\n\n");
  writer.content(content, role == "assistant");
  if (role == "assistant") {
    writer.turn_end("<|eot_id|>");
  } else {
    writer.markup("<|eot_id|>");
  }
}

void llama_prompt(bool prompt, ChatWriter& writer) {
  if (prompt) writer.markup("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

// A system message first where the style allows one, then user and assistant in turns.
std::size_t check_turns(const Messages& messages, bool allows_system, const ChatWriter& writer) {
  const std::size_t first = messages[0].role == "system" && allows_system ? 1 : 0;
  for (std::size_t i = first; i < messages.size(); ++i) {
    const bool wants_user = (i - first) % 2 == 0;
    if (messages[i].role == (wants_user ? "user" : "assistant")) continue;
    writer.fail(i, "role " + quote(messages[i].role) + " where " +
                       (wants_user ? "user" : "assistant") + " must follow" +
                       (allows_system ? "" : " (this style has no system message)"));
  }
  return first;
}

// Turns without a system message; `after_turn` follows what the assistant says.
void render_inst(const Messages& messages, std::string_view after_turn, ChatWriter& writer) {
  check_turns(messages, false, writer);
  writer.markup("<s>");
  for (const ChatMessage& message : messages) {
    if (is_assistant(message)) {
      writer.content(message.content, true);
      writer.turn_end("</s>");
      writer.markup(after_turn);
    } else {
      writer.markup("[INST] ");
      writer.content(message.content, false);
      writer.markup(" [/INST]");
    }
  }
}

}  // namespace

void ChatWriter::fail(std::size_t message, const std::string& problem) const {
  throw Error(ErrorKind::kArgument, "chat_template",
              style_ + ": message " + std::to_string(message + 1) + ": " + problem);
}

void ChatWriter::add(std::string_view text, bool is_markup, bool is_assistant) {
  if (text.empty()) return;
  if (!pieces_.empty() && pieces_.back().is_markup == is_markup &&
      pieces_.back().is_assistant == is_assistant) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({std::string(text), is_markup, is_assistant});
  }
}

void render_chatml(const Messages& messages, bool prompt, ChatWriter& writer) {
  render_im(messages, prompt, "", writer);
}

void render_qwen2(const Messages& messages, bool prompt, ChatWriter& writer) {
  render_im(messages, prompt, "You are a helpful assistant.", writer);
}

void render_qwen2_5(const Messages& messages, bool prompt, ChatWriter& writer) {
  render_im(messages, prompt,
            "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", writer);
}

// Thoughts of turns before the last question are left out; the answer that ends the conversation has a block for
// them, empty when it holds none.
void render_qwen3(const Messages& messages, bool prompt, ChatWriter& writer) {
  check_roles(messages, writer);
  std::size_t last_question = messages.size() - 1;
  for (std::size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool is_tool_response =
        content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !is_tool_response) {
      last_question = i;
      break;
    }
  }
  constexpr std::string_view kOpen = "<think>";
  constexpr std::string_view kClose = "</think>";
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!is_assistant(messages[i])) {
      im_turn(messages[i], writer);
      continue;
    }
    std::string_view content = messages[i].content;
    std::string_view thoughts;
    if (content.find(kClose) != std::string_view::npos) {
      thoughts = content.substr(0, content.find(kClose));
      const std::size_t open = thoughts.rfind(kOpen);
      if (open != std::string_view::npos) thoughts.remove_prefix(open + kOpen.size());
      content = without_leading_lines(content.substr(content.rfind(kClose) + kClose.size()));
    }
    std::string text(content);
    const bool is_last = i + 1 == messages.size();
    if (i > last_question && (is_last || !without_lines(thoughts).empty())) {
      text = "<think>\n" + std::string(without_lines(thoughts)) + "\n</think>\n\n" +
             std::string(without_leading_lines(content));
    }
    im_turn({"assistant", text}, writer);
  }
  if (prompt) writer.markup("<|im_start|>assistant\n");
}

void render_llama3(const Messages& messages, bool prompt, ChatWriter& writer) {
  check_roles(messages, writer);
  writer.markup("<|begin_of_text|>");
  for (const ChatMessage& message : messages) {
    llama_turn(message.role, trimmed(message.content), writer);
  }
  llama_prompt(prompt, writer);
}

// The date is the template's own fixed one, so that the same conversation gives the same ids every day.
void render_llama3_1(const Messages& messages, bool prompt, ChatWriter& writer) {
  check_roles(messages, writer);
  const bool has_system = messages[0].role == "system";
  writer.markup(
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
      "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
  if (has_system) writer.content(trimmed(messages[0].content), false);
  writer.markup("<|eot_id|>");
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    llama_turn(messages[i].role, trimmed(messages[i].content), writer);
  }
  llama_prompt(prompt, writer);
}

void render_mistral_v1(const Messages& messages, bool, ChatWriter& writer) {
  render_inst(messages, " ", writer);
}

void render_mistral_v2_early(const Messages& messages, bool, ChatWriter& writer) {
  render_inst(messages, "", writer);
}

void render_mistral(const Messages& messages, bool, ChatWriter& writer) {
  const std::size_t first = check_turns(messages, true, writer);
  writer.markup("<s>");
  for (std::size_t i = first; i < messages.size(); ++i) {
    if (is_assistant(messages[i])) {
      writer.markup(" ");
      writer.content(messages[i].content, true);
      writer.turn_end("</s>");
      continue;
    }
    writer.markup(" [INST] ");
    if (i == first && first == 1) writer.content(messages[0].content + "\n\n", false);
    writer.content(messages[i].content, false);
    writer.markup(" [/INST]");
  }
}

// The system message stands in the last question, and only when that ends the conversation.
void render_mistral_v3(const Messages& messages, bool, ChatWriter& writer) {
  const std::size_t first = check_turns(messages, true, writer);
  writer.markup("<s>");
  for (std::size_t i = first; i < messages.size(); ++i) {
    if (is_assistant(messages[i])) {
      writer.markup(" ");
      writer.content(trimmed(messages[i].content), true);
      writer.turn_end("</s>");
      continue;
    }
    writer.markup("[INST] ");
    const bool is_last = i + 1 == messages.size();
    if (is_last && first == 1) writer.content(messages[0].content + "\n\n", false);
    writer.content(messages[i].content, false);
    writer.markup("[/INST]");
  }
}

}  // namespace wick::detail
