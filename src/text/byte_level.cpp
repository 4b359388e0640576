#include "text/byte_level.hpp"

#include <array>

#include "text/unicode.hpp"

namespace wick::detail {

namespace {

constexpr std::size_t kBytes = 256;
constexpr std::size_t kCharacters = 0x144;  // the last one that a byte maps to is U+0143

struct Tables {
  std::array<char32_t, kBytes> character{};
  std::array<int, kCharacters> byte{};
};

constexpr Tables make_tables() {
  Tables tables;
  for (int& byte : tables.byte) byte = -1;
  char32_t next = 0x100;
  for (std::size_t b = 0; b < kBytes; ++b) {
    const bool is_printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const char32_t c = is_printable ? static_cast<char32_t>(b) : next++;
    tables.character[b] = c;
    tables.byte[c] = static_cast<int>(b);
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

std::string bytes_to_characters(std::string_view bytes) {
  std::string characters;
  characters.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    append_utf8(characters, kTables.character[static_cast<unsigned char>(byte)]);
  }
  return characters;
}

std::string characters_to_bytes(std::string_view token) {
  std::string bytes;
  for (std::size_t i = 0; i < token.size();) {
    const CodePoint c = code_point_at(token, i);
    if (c.value >= kCharacters || kTables.byte[c.value] < 0) return std::string(token);
    bytes.push_back(static_cast<char>(kTables.byte[c.value]));
    i += c.size;
  }
  return bytes;
}

}  // namespace wick::detail
