#include "text/unicode.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.hpp"
#include "base/quote.hpp"

namespace wick::detail {

namespace {

utf8proc_category_t category(char32_t c) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_between(utf8proc_category_t value, utf8proc_category_t first, utf8proc_category_t last) {
  return value >= first && value <= last;
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Length of the longest beginning of a character at the start of bytes that are not a whole one: what U+FFFD stands
// for. At least 1.
std::size_t broken_prefix(std::string_view bytes) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned first = byte(0);
  std::size_t need = 0;
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) need = 1;
  if (first >= 0xE0 && first <= 0xEF) need = 2;
  if (first >= 0xF0 && first <= 0xF4) need = 3;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  std::size_t length = 1;
  while (length <= need && length < bytes.size() && byte(length) >= low && byte(length) <= high) {
    ++length;
    low = 0x80;
    high = 0xBF;
  }
  return length;
}

// Characters below this stay as they are in a normal form, and none of them joins the one before it.
char32_t first_unstable(NormalForm form) noexcept { return form == NormalForm::kC ? 0x300 : 0x80; }

int combining_class(utf8proc_int32_t c) noexcept {
  return utf8proc_get_property(c)->combining_class;
}

// Marks that follow each other, in the order of their classes. utf8proc's own ordering is quadratic.
void order_marks(std::vector<utf8proc_int32_t>& characters) {
  const auto is_mark_at = [](utf8proc_int32_t c) { return combining_class(c) != 0; };
  for (auto begin = characters.begin(); begin != characters.end();) {
    begin = std::find_if(begin, characters.end(), is_mark_at);
    const auto end = std::find_if_not(begin, characters.end(), is_mark_at);
    std::stable_sort(begin, end, [](utf8proc_int32_t left, utf8proc_int32_t right) {
      return combining_class(left) < combining_class(right);
    });
    begin = end;
  }
}

void append_normalized(std::string& result, std::string_view text, NormalForm form) {
  constexpr std::size_t kLongest = 18;  // characters that one decomposes to: U+FDFA
  const bool composes = form == NormalForm::kC || form == NormalForm::kKc;
  unsigned options = UTF8PROC_STABLE | (composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (form == NormalForm::kKc || form == NormalForm::kKd) options |= UTF8PROC_COMPAT;
  const auto flags = static_cast<utf8proc_option_t>(options);
  std::vector<utf8proc_int32_t> characters;
  std::array<utf8proc_int32_t, kLongest> parts{};
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    int boundary = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), parts.data(),
                                               parts.size(), flags, &boundary);
    check(count >= 0 && count <= static_cast<utf8proc_ssize_t>(kLongest),
          "a character decomposes to too many");
    characters.insert(characters.end(), parts.begin(), parts.begin() + count);
    i += c.size;
  }
  order_marks(characters);
  const auto length = utf8proc_normalize_utf32(
      characters.data(), static_cast<utf8proc_ssize_t>(characters.size()), flags);
  check(length >= 0, "utf8proc refuses valid characters");
  characters.resize(static_cast<std::size_t>(length));
  for (const utf8proc_int32_t c : characters) append_utf8(result, static_cast<char32_t>(c));
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t position) noexcept {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[position + i]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {((first & 0x1F) << 6) | (byte(1) & 0x3F), 2};
  if (first < 0xF0) {
    return {((first & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
  }
  return {((first & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) |
              (byte(3) & 0x3F),
          4};
}

CodePoint code_point_before(std::string_view text, std::size_t position) noexcept {
  std::size_t begin = position - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return code_point_at(text, begin);
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::size_t first_invalid_utf8(std::string_view text) noexcept {
  std::size_t i = 0;
  while (i < text.size()) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return i;
}

std::string lossy_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  std::size_t i = 0;
  while (i < bytes.size()) {
    const std::size_t length = utf8_length(bytes.substr(i));
    if (length > 0) {
      text.append(bytes, i, length);
      i += length;
    } else {
      text += kReplacement;
      i += broken_prefix(bytes.substr(i));
    }
  }
  return text;
}

std::string normalized(std::string_view text, NormalForm form) {
  const char32_t limit = first_unstable(form);
  std::string result;
  result.reserve(text.size());
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size();) {
    CodePoint c = code_point_at(text, i);
    if (c.value < limit) {
      i += c.size;
      continue;
    }
    const std::size_t begin = i > done ? i - code_point_before(text, i).size : i;
    for (; i < text.size(); i += c.size) {
      c = code_point_at(text, i);
      if (c.value < limit) break;
    }
    result.append(text, done, begin - done);
    append_normalized(result, text.substr(begin, i - begin), form);
    done = i;
  }
  result.append(text, done);
  return result;
}

std::size_t grapheme_end(std::string_view text, std::size_t begin) noexcept {
  CodePoint last = code_point_at(text, begin);
  std::size_t end = begin + last.size;
  utf8proc_int32_t state = 0;
  while (end < text.size()) {
    const CodePoint next = code_point_at(text, end);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state)) {
      break;
    }
    last = next;
    end += next.size;
  }
  return end;
}

std::string lowercased(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.value == 0x130) {
      lower += "i\xCC\x87";  // the one character whose lower case is two
    } else {
      append_utf8(lower,
                  static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
    }
    i += c.size;
  }
  return lower;
}

bool is_letter(char32_t c) noexcept {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_between(category(c), UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO);
}

bool is_number(char32_t c) noexcept {
  if (c < 0x80) return c >= '0' && c <= '9';
  return is_between(category(c), UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);
}

bool is_white_space(char32_t c) noexcept {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_nonspacing_mark(char32_t c) noexcept { return category(c) == UTF8PROC_CATEGORY_MN; }

bool is_mark(char32_t c) noexcept {
  return is_between(category(c), UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
}

bool is_punctuation(char32_t c) noexcept {
  if (c < 0x80) {
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  }
  return is_between(category(c), UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO);
}

bool is_control(char32_t c) noexcept {
  const utf8proc_category_t found = category(c);
  return found == UTF8PROC_CATEGORY_CC || found == UTF8PROC_CATEGORY_CF ||
         found == UTF8PROC_CATEGORY_CO;
}

bool is_word(char32_t c) noexcept {
  if (c < 0x80) return is_letter(c) || is_number(c) || c == '_';
  const utf8proc_category_t found = category(c);
  const bool is_circled_letter = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
                                 (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
  return is_letter(c) || is_mark(c) || found == UTF8PROC_CATEGORY_ND ||
         found == UTF8PROC_CATEGORY_NL || found == UTF8PROC_CATEGORY_PC || is_circled_letter ||
         c == 0x200C || c == 0x200D;
}

}  // namespace wick::detail
