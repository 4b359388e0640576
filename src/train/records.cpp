#include "train/records.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.hpp"
#include "base/quote.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::size_t kListedKeys = 8;
constexpr std::size_t kListedKeyBytes = 40;

[[noreturn]] void refuse(std::string_view place, std::string problem) {
  throw Error(ErrorKind::kParse, std::string(place), std::move(problem));
}

[[noreturn]] void refuse_unsupported(std::string_view place, std::string problem) {
  throw Error(ErrorKind::kUnsupported, std::string(place), std::move(problem));
}

std::vector<std::string_view> keys_of(RecordKind kind) {
  switch (kind) {
    case RecordKind::kMessages:
      return {"messages"};
    case RecordKind::kPromptCompletion:
      return {"prompt", "completion"};
    case RecordKind::kText:
      return {"text"};
  }
  return {};
}

bool has_keys(const Json& json, RecordKind kind) {
  return std::ranges::all_of(keys_of(kind),
                             [&](std::string_view key) { return json.contains(key); });
}

// The keys that a record does have: usually one of them is the wanted one, misspelt.
std::string listed_keys(const Json& json) {
  if (json.empty()) return "none";
  std::string list;
  std::size_t count = 0;
  for (const auto& item : json.items()) {
    if (count == kListedKeys) return list + ", …";
    if (count++ > 0) list += ", ";
    list += quote(item.key(), kListedKeyBytes);
  }
  return list;
}

Json parse_line(std::string_view line) {
  Json json = parse_json(line, "");
  if (!json.is_object()) refuse("", "each line must be a JSON object, got " + describe(json));
  return json;
}

const Json& member(const Json& json, std::string_view key, std::string_view place) {
  const auto found = json.find(key);
  if (found == json.end()) {
    refuse(place, fmt::format("must have the key \"{}\"; its keys: {}", key, listed_keys(json)));
  }
  return *found;
}

std::string string_of(const Json& json, std::string_view place) {
  if (!json.is_string()) refuse(place, "must be a string, got " + describe(json));
  return json.get<std::string>();
}

bool is_set(const Json& json, std::string_view key) {
  const auto found = json.find(key);
  return found != json.end() && !found->is_null() && !(found->is_structured() && found->empty());
}

void refuse_tools(const Json& json, std::string_view place) {
  for (const std::string_view key : {"tools", "tool_calls", "functions", "function_call"}) {
    if (is_set(json, key)) {
      refuse_unsupported(place, fmt::format("\"{}\" is not supported: conversations with tools "
                                            "cannot be trained on yet",
                                            key));
    }
  }
}

std::string role_of(const Json& message, const std::string& place) {
  std::string role = string_of(member(message, "role", place), place + ".role");
  if (role == "tool" || role == "function") {
    refuse_unsupported(place + ".role", fmt::format("\"{}\" is not supported: conversations with "
                                                    "tools cannot be trained on yet",
                                                    role));
  }
  if (role != "system" && role != "user" && role != "assistant") {
    refuse(place + ".role",
           fmt::format("must be \"system\", \"user\" or \"assistant\", got {}", quote(role)));
  }
  return role;
}

std::string content_of(const Json& message, const std::string& place) {
  const Json& content = member(message, "content", place);
  if (content.is_array()) {
    refuse_unsupported(place + ".content",
                       "a list of parts is not supported: content must be one string");
  }
  return string_of(content, place + ".content");
}

void append_messages(const Json& list, std::string_view key, std::vector<ChatMessage>& messages) {
  if (!list.is_array() || list.empty()) {
    refuse(key, "must be a list of messages that is not empty, got " + describe(list));
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", key, i);
    const Json& message = list[i];
    if (!message.is_object()) {
      refuse(place, "must be an object with \"role\" and \"content\", got " + describe(message));
    }
    refuse_tools(message, place);
    messages.push_back({.role = role_of(message, place), .content = content_of(message, place)});
  }
}

Record chat_of(const Json& json) {
  refuse_tools(json, "");
  ChatRecord record;
  append_messages(member(json, "messages", ""), "messages", record.messages);
  return record;
}

Record prompt_of(const Json& json) {
  const Json& prompt = member(json, "prompt", "");
  const Json& completion = member(json, "completion", "");
  if (prompt.is_array() && completion.is_array()) {
    refuse_tools(json, "");
    ChatRecord record;
    append_messages(prompt, "prompt", record.messages);
    record.num_prompt_messages = record.messages.size();
    append_messages(completion, "completion", record.messages);
    return record;
  }
  if (!prompt.is_string() || !completion.is_string()) {
    refuse("", fmt::format("\"prompt\" and \"completion\" must be two strings or two lists of "
                           "messages, got {} and {}",
                           describe(prompt), describe(completion)));
  }
  PromptRecord record{.prompt = string_of(prompt, "prompt"),
                      .completion = string_of(completion, "completion")};
  if (record.completion.empty()) refuse("completion", "must not be empty: nothing could be learnt");
  return record;
}

}  // namespace

RecordKind kind_of_record(std::string_view line) {
  const Json json = parse_line(line);
  for (const RecordKind kind :
       {RecordKind::kMessages, RecordKind::kPromptCompletion, RecordKind::kText}) {
    if (has_keys(json, kind)) return kind;
  }
  refuse("", fmt::format("a record must have \"messages\", \"prompt\" and \"completion\", or "
                         "\"text\"; its keys: {}",
                         listed_keys(json)));
}

Record parse_record(std::string_view line, RecordKind kind) {
  const Json json = parse_line(line);
  if (!has_keys(json, kind)) {
    refuse("", fmt::format("must have \"{}\" like the file's first record; its keys: {}",
                           fmt::join(keys_of(kind), "\" and \""), listed_keys(json)));
  }
  switch (kind) {
    case RecordKind::kMessages:
      return chat_of(json);
    case RecordKind::kPromptCompletion:
      return prompt_of(json);
    case RecordKind::kText:
      break;
  }
  TextRecord record{.text = string_of(json["text"], "text")};
  if (record.text.empty()) refuse("text", "must not be empty");
  return record;
}

}  // namespace wick::detail
