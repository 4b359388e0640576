#include <memory>

#include "base/quote.hpp"
#include "text/byte_level.hpp"
#include "text/character_map.hpp"
#include "text/components.hpp"
#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

void unknown_component(const JsonFields& fields) {
  throw Error(ErrorKind::kUnsupported, "tokenizer",
              fields.where() + ": type " + quote(fields.string("type")) + " is not supported");
}

Pattern read_pattern(const Json& json, const std::string& where) {
  const JsonFields fields(json, where);
  if (fields.find("String") != nullptr) return Pattern::text(fields.string("String"));
  if (fields.find("Regex") != nullptr) return Pattern::regex(fields.string("Regex"), where);
  throw Error(ErrorKind::kParse, "tokenizer", where + ": must have String or Regex");
}

namespace {

// Applies `change` to every character: it appends what the character becomes.
template <class Change>
std::string map_characters(std::string_view text, Change&& change) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    change(c.value, result);
    i += c.size;
  }
  return result;
}

std::string without_marks(std::string_view text) {
  return map_characters(text, [](char32_t c, std::string& out) {
    if (!is_mark(c)) append_utf8(out, c);
  });
}

// What BERT's own clean-up means by accents.
std::string without_nonspacing_marks(std::string_view text) {
  return map_characters(text, [](char32_t c, std::string& out) {
    if (!is_nonspacing_mark(c)) append_utf8(out, c);
  });
}

std::string trimmed(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_white_space(code_point_at(text, 0).value)) {
    text.remove_prefix(code_point_at(text, 0).size);
  }
  while (right && !text.empty() && is_white_space(code_point_before(text, text.size()).value)) {
    text.remove_suffix(code_point_before(text, text.size()).size);
  }
  return std::string(text);
}

bool is_chinese(char32_t c) noexcept {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

std::string cleaned(std::string_view text) {
  return map_characters(text, [](char32_t c, std::string& out) {
    const bool is_layout = c == '\t' || c == '\n' || c == '\r';
    if (c == 0 || c == 0xFFFD || (!is_layout && is_control(c))) return;
    append_utf8(out, is_layout || is_white_space(c) ? U' ' : c);
  });
}

std::string spaced_chinese(std::string_view text) {
  return map_characters(text, [](char32_t c, std::string& out) {
    if (is_chinese(c)) out += ' ';
    append_utf8(out, c);
    if (is_chinese(c)) out += ' ';
  });
}

Normalizer make_bert(const JsonFields& fields) {
  const bool cleans = fields.boolean("clean_text", true);
  const bool spaces = fields.boolean("handle_chinese_chars", true);
  const bool lowers = fields.boolean("lowercase", true);
  const bool strips = fields.boolean("strip_accents", lowers);
  return [=](std::string_view text) {
    std::string result(text);
    if (cleans) result = cleaned(result);
    if (spaces) result = spaced_chinese(result);
    if (strips) result = without_nonspacing_marks(normalized(result, NormalForm::kD));
    if (lowers) result = lowercased(result);
    return result;
  };
}

// What SentencePiece's own normaliser does to control characters and unusual spaces.
std::string nmt(std::string_view text) {
  return map_characters(text, [](char32_t c, std::string& out) {
    const bool is_dropped = (c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) ||
                            c == 0x7F || c == 0x8F || c == 0x9F;
    if (is_dropped) return;
    const bool is_space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                          (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                          c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
    append_utf8(out, is_space ? U' ' : c);
  });
}

Normalizer make_sequence(const Json& parts, const std::string& where) {
  if (!parts.is_array()) {
    throw Error(ErrorKind::kParse, "tokenizer", where + ": must be a list");
  }
  std::vector<Normalizer> steps;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Normalizer step = make_normalizer(parts[i], where + "[" + std::to_string(i) + "]");
    if (step) steps.push_back(std::move(step));
  }
  return [steps = std::move(steps)](std::string_view text) {
    std::string result(text);
    for (const Normalizer& step : steps) result = step(result);
    return result;
  };
}

Normalizer make_precompiled(const JsonFields& fields) {
  const auto map = std::make_shared<CharacterMap>(fields.string("precompiled_charsmap"),
                                                  fields.where() + ".precompiled_charsmap");
  return [map](std::string_view text) { return map->normalize(text); };
}

Normalizer make_form(NormalForm form) {
  return [form](std::string_view text) { return normalized(text, form); };
}

}  // namespace

Normalizer make_normalizer(const Json& json, const std::string& where) {
  if (json.is_null()) return {};
  const JsonFields fields(json, where);
  const std::string type = fields.string("type");
  if (type == "Sequence") return make_sequence(fields.require("normalizers"), where);
  if (type == "NFC") return make_form(NormalForm::kC);
  if (type == "NFD") return make_form(NormalForm::kD);
  if (type == "NFKC") return make_form(NormalForm::kKc);
  if (type == "NFKD") return make_form(NormalForm::kKd);
  if (type == "Lowercase") return lowercased;
  if (type == "StripAccents") return without_marks;
  if (type == "Nmt") return nmt;
  if (type == "BertNormalizer") return make_bert(fields);
  if (type == "Precompiled") return make_precompiled(fields);
  if (type == "ByteLevel") return bytes_to_characters;
  if (type == "Strip") {
    const bool left = fields.boolean("strip_left", true);
    const bool right = fields.boolean("strip_right", true);
    return [=](std::string_view text) { return trimmed(text, left, right); };
  }
  if (type == "Prepend") {
    const std::string prefix = fields.string("prepend");
    return [=](std::string_view text) {
      return text.empty() ? std::string() : prefix + std::string(text);
    };
  }
  if (type == "Replace") {
    const Pattern pattern = read_pattern(fields.require("pattern"), where + ".pattern");
    const std::string content = fields.string("content");
    return [=](std::string_view text) { return pattern.replace(text, content); };
  }
  unknown_component(fields);
}

}  // namespace wick::detail
