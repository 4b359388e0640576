#include "wick/text/chat_template.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/json.hpp"
#include "base/quote.hpp"
#include "text/chat_renderers.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

using detail::Json;

struct Style {
  std::string_view name;
  detail::ChatRenderer render;
  std::string_view end_token;
};

constexpr std::string_view kImEnd = "<|im_end|>";
constexpr std::string_view kEot = "<|eot_id|>";
constexpr std::string_view kEos = "</s>";

constexpr std::array<Style, 9> kStyles{{
    {"chatml", detail::render_chatml, kImEnd},
    {"qwen2", detail::render_qwen2, kImEnd},
    {"qwen2.5", detail::render_qwen2_5, kImEnd},
    {"qwen3", detail::render_qwen3, kImEnd},
    {"llama3", detail::render_llama3, kEot},
    {"llama3.1", detail::render_llama3_1, kEot},
    {"mistral-v1", detail::render_mistral_v1, kEos},
    {"mistral", detail::render_mistral, kEos},
    {"mistral-v3", detail::render_mistral_v3, kEos},
}};

// The whole text of a template, white space collapsed, as a 64-bit FNV-1a number, and the style that it writes.
struct Fingerprint {
  std::uint64_t hash;
  std::string_view style;
};

constexpr std::array<Fingerprint, 13> kFingerprints{{
    {0xa41d6bae9b9141bc, "chatml"},
    {0x17fde6ecda9c7c01, "chatml"},
    {0x2bdb6446f8d36516, "chatml"},
    {0x75e88977b2787cd7, "qwen2"},
    {0x80edb050bab8a257, "qwen2.5"},
    {0x9d0f9e284d6da15e, "qwen3"},
    {0xea115763e1502bf8, "llama3"},
    {0xe6a91ca359f4278c, "llama3"},
    {0x9a3e94dc0b68272e, "llama3.1"},
    {0xef8f150c028c2230, "llama3.1"},
    {0xc730acc029ce6ee0, "mistral-v1"},
    {0xc558879e730d13a5, "mistral"},
    {0x8d5d363d7de6d2d5, "mistral-v3"},
}};

std::uint64_t fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto take = [&](char byte) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  };
  bool pending_space = false;
  bool is_first = true;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      pending_space = true;
      continue;
    }
    if (pending_space && !is_first) take(' ');
    pending_space = false;
    is_first = false;
    take(c);
  }
  return hash;
}

const Style* find_style(std::string_view name) {
  for (const Style& style : kStyles) {
    if (style.name == name) return &style;
  }
  return nullptr;
}

std::string known_names() {
  std::string names;
  for (const Style& style : kStyles) names += (names.empty() ? "" : ", ") + std::string(style.name);
  return names;
}

// The template of tokenizer_config.json: a text, or one of several that is named "default".
std::optional<std::string> configured_template(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const Json json = detail::read_json_file(path);
  const detail::JsonFields fields(json, path.string());
  const Json* value = fields.find("chat_template");
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array()) fields.fail("chat_template", "must be text or a list of templates");
  for (const Json& entry : *value) {
    const detail::JsonFields one(entry, path.string() + ": chat_template");
    if (one.string("name") == "default") return one.string("template");
  }
  fields.fail("chat_template", "has no template named default");
}

}  // namespace

ChatTemplate ChatTemplate::named(std::string_view name) {
  if (name == "llama3.2") name = "llama3.1";
  if (name == "mistral-v2") name = "mistral";
  if (find_style(name) == nullptr) {
    throw Error(ErrorKind::kArgument, "chat_template",
                detail::quote(name) + " is not one of " + known_names());
  }
  return ChatTemplate(std::string(name));
}

ChatTemplate ChatTemplate::recognise(std::string_view jinja, std::string_view where) {
  const std::uint64_t hash = fingerprint(jinja);
  for (const Fingerprint& known : kFingerprints) {
    if (known.hash == hash && find_style(known.style) != nullptr) {
      return ChatTemplate(std::string(known.style));
    }
  }
  const std::string_view first_line = jinja.substr(0, jinja.find('\n'));
  throw Error(ErrorKind::kUnsupported, "chat_template",
              std::string(where) + ": the template is none that is built in; it begins with " +
                  detail::quote(first_line, 120),
              {}, "name the one that writes the same with --chat-template: " + known_names());
}

ChatTemplate ChatTemplate::of_model(const std::filesystem::path& folder) {
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) {
    return recognise(detail::read_text_file(jinja), jinja.string());
  }
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (const auto text = configured_template(config)) return recognise(*text, config.string());
  throw Error(ErrorKind::kArgument, "chat_template",
              folder.string() + " has no chat template (tokenizer_config.json, chat_template.jinja)",
              {}, "name one with --chat-template: " + known_names());
}

std::vector<std::string> ChatTemplate::names() {
  std::vector<std::string> names;
  for (const Style& style : kStyles) names.emplace_back(style.name);
  return names;
}

std::vector<ChatPiece> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                            bool add_generation_prompt) const {
  if (messages.empty()) {
    throw Error(ErrorKind::kArgument, "chat_template", "a conversation needs a message");
  }
  detail::ChatWriter writer(name_);
  find_style(name_)->render(messages, add_generation_prompt, writer);
  return writer.take();
}

std::vector<std::string> ChatTemplate::stop_tokens() const {
  return {std::string(find_style(name_)->end_token)};
}

}  // namespace wick
