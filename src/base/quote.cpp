#include "base/quote.hpp"

#include <fmt/format.h>

namespace wick::detail {

namespace {

unsigned byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

bool is_continuation(std::string_view text, std::size_t i) {
  return i < text.size() && (byte_at(text, i) & 0xC0u) == 0x80u;
}

}  // namespace

std::size_t utf8_length(std::string_view text) noexcept {
  if (text.empty()) return 0;
  const unsigned lead = byte_at(text, 0);
  if (lead < 0x80u) return 1;
  if (lead < 0xC2u || lead > 0xF4u || !is_continuation(text, 1)) return 0;
  if (lead < 0xE0u) return 2;
  const unsigned second = byte_at(text, 1);
  if (!is_continuation(text, 2)) return 0;
  if (lead < 0xF0u) {
    const bool overlong = lead == 0xE0u && second < 0xA0u;
    const bool surrogate = lead == 0xEDu && second >= 0xA0u;
    return overlong || surrogate ? 0 : 3;
  }
  const bool overlong = lead == 0xF0u && second < 0x90u;
  const bool too_large = lead == 0xF4u && second >= 0x90u;
  return overlong || too_large || !is_continuation(text, 3) ? 0 : 4;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string result;
  std::size_t i = 0;
  while (i < text.size() && result.size() < limit) {
    const std::size_t length = utf8_length(text.substr(i));
    const unsigned byte = byte_at(text, i);
    if (length == 0 || byte < 0x20u || byte == 0x7Fu) {
      result += fmt::format("\\x{:02X}", byte);
      i += 1;
    } else {
      result += text.substr(i, length);
      i += length;
    }
  }
  if (i < text.size()) result += "…";
  return result;
}

std::string quote(std::string_view text, std::size_t limit) {
  return "\"" + printable(text, limit) + "\"";
}

}  // namespace wick::detail
