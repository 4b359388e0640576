#include "text/character_map.hpp"

#include <utility>

#include "text/unicode.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// The reference library looks up graphemes of fewer bytes only.
constexpr std::size_t kLongestGrapheme = 6;
constexpr std::size_t kUnitBytes = 4;

[[noreturn]] void fail(const std::string& where, const std::string& rule) {
  throw Error(ErrorKind::kParse, "tokenizer", where + ": " + rule);
}

int sextet(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

std::string from_base64(std::string_view text, const std::string& where) {
  if (text.size() % 4 != 0) fail(where, "is no base64: its length is no multiple of 4");
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  unsigned bits = 0;
  int count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int value = sextet(text[i]);
    if (value < 0) fail(where, "is no base64 at byte " + std::to_string(i));
    bits = ((bits << 6) | static_cast<unsigned>(value)) & 0xFFFFFF;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>((bits >> count) & 0xFF));
  }
  return bytes;
}

std::uint32_t read_u32(std::string_view bytes, std::size_t at) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < kUnitBytes; ++i) {
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return value;
}

// The fields of a node, as Darts-clone packs them.
bool has_leaf(std::uint32_t unit) noexcept { return ((unit >> 8) & 1) != 0; }
std::uint32_t leaf_value(std::uint32_t unit) noexcept { return unit & 0x7FFFFFFF; }
std::uint32_t label(std::uint32_t unit) noexcept { return unit & 0x800000FF; }
std::size_t offset(std::uint32_t unit) noexcept {
  return std::size_t{unit >> 10} << ((unit & 0x200) >> 6);
}

}  // namespace

CharacterMap::CharacterMap(std::string_view base64, std::string where) : where_(std::move(where)) {
  const std::string bytes = from_base64(base64, where_);
  if (bytes.size() < kUnitBytes) fail(where_, "is too short");
  const std::size_t trie_bytes = read_u32(bytes, 0);
  if (trie_bytes == 0 || trie_bytes % kUnitBytes != 0 || trie_bytes > bytes.size() - kUnitBytes) {
    fail(where_, "a trie of " + std::to_string(trie_bytes) + " bytes does not fit into " +
                     std::to_string(bytes.size()));
  }
  units_.reserve(trie_bytes / kUnitBytes);
  for (std::size_t i = 0; i < trie_bytes; i += kUnitBytes) {
    units_.push_back(read_u32(bytes, kUnitBytes + i));
  }
  replacements_ = bytes.substr(kUnitBytes + trie_bytes);
  const std::size_t invalid = first_invalid_utf8(replacements_);
  if (invalid != replacements_.size()) {
    fail(where_, "the replacements are no UTF-8 at byte " + std::to_string(invalid));
  }
}

std::optional<std::string_view> CharacterMap::find(std::string_view text) const {
  std::size_t node = offset(units_[0]);
  for (const char byte : text) {
    const auto wanted = static_cast<unsigned char>(byte);
    node ^= wanted;
    if (wanted == 0 || node >= units_.size() || label(units_[node]) != wanted) return std::nullopt;
    const std::uint32_t unit = units_[node];
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    const std::string_view all = replacements_;
    const std::size_t begin = node < units_.size() ? leaf_value(units_[node]) : all.size() + 1;
    const auto is_inside_character = [&] {
      return begin < all.size() && (static_cast<unsigned char>(all[begin]) & 0xC0) == 0x80;
    };
    if (begin > all.size() || is_inside_character()) fail(where_, "a rule leads out of the data");
    return all.substr(begin, all.find('\0', begin) - begin);
  }
  return std::nullopt;
}

std::string CharacterMap::normalize(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = grapheme_end(text, begin);
    const auto whole = end - begin < kLongestGrapheme ? find(text.substr(begin, end - begin))
                                                      : std::optional<std::string_view>();
    if (whole) {
      result += *whole;
      begin = end;
    }
    while (begin < end) {
      const std::size_t size = code_point_at(text, begin).size;
      const std::string_view character = text.substr(begin, size);
      result += find(character).value_or(character);
      begin += size;
    }
  }
  return result;
}

}  // namespace wick::detail
