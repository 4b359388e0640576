#include "text/split_patterns.hpp"

#include <array>

#include "text/unicode.hpp"

namespace wick::detail {

namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Kind : unsigned char { kLetter, kNumber, kSpace, kOther };

Kind kind_of(char32_t c) noexcept {
  if (is_letter(c)) return Kind::kLetter;
  if (is_number(c)) return Kind::kNumber;
  return is_white_space(c) ? Kind::kSpace : Kind::kOther;
}

constexpr std::array<Kind, 128> make_ascii_kinds() {
  std::array<Kind, 128> kinds{};
  for (std::size_t c = 0; c < kinds.size(); ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= 9 && c <= 13);
    kinds[c] = letter                   ? Kind::kLetter
               : (c >= '0' && c <= '9') ? Kind::kNumber
               : space                  ? Kind::kSpace
                                        : Kind::kOther;
  }
  return kinds;
}

constexpr std::array<Kind, 128> kAsciiKinds = make_ascii_kinds();

// Reads characters of a text with their kinds.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  bool at_end(std::size_t i) const { return i >= text_.size(); }
  char byte(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  Kind kind(std::size_t i, std::size_t& size) const {
    const auto first = static_cast<unsigned char>(text_[i]);
    if (first < 0x80) {
      size = 1;
      return kAsciiKinds[first];
    }
    const CodePoint c = code_point_at(text_, i);
    size = c.size;
    return kind_of(c.value);
  }
  bool is(std::size_t i, Kind wanted) const {
    std::size_t size = 0;
    return !at_end(i) && kind(i, size) == wanted;
  }
  // End of the run of characters of one kind, at most `limit` of them.
  std::size_t run(std::size_t i, Kind wanted, std::size_t limit = ~std::size_t{0}) const {
    std::size_t size = 0;
    while (limit > 0 && !at_end(i) && kind(i, size) == wanted) {
      i += size;
      --limit;
    }
    return i;
  }
  std::size_t line_ends(std::size_t i) const {
    while (byte(i) == '\r' || byte(i) == '\n') ++i;
    return i;
  }

 private:
  std::string_view text_;
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// Length of 's 't 're 've 'm 'll 'd, or 0. The long s (U+017F) is an s for a match that ignores case.
std::size_t contraction(const Cursor& text, std::size_t i, bool any_case) {
  if (text.byte(i) != '\'') return 0;
  const char a = any_case ? lower(text.byte(i + 1)) : text.byte(i + 1);
  const char b = any_case ? lower(text.byte(i + 2)) : text.byte(i + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  if (any_case && text.byte(i + 1) == '\xC5' && text.byte(i + 2) == '\xBF') return 3;
  return 0;
}

// \s+(?!\S)|\s+ : a run of space leaves its last character to what follows it, unless that is all there is.
std::size_t space_run(const Cursor& text, std::string_view whole, std::size_t begin) {
  const std::size_t end = text.run(begin, Kind::kSpace);
  if (text.at_end(end)) return end;
  const std::size_t last = end - code_point_before(whole, end).size;
  return last > begin ? last : end;
}

std::size_t next_gpt2(std::string_view whole, std::size_t begin) {
  const Cursor text(whole);
  if (const std::size_t length = contraction(text, begin, false)) return begin + length;
  const std::size_t word = begin + (text.byte(begin) == ' ' ? 1 : 0);
  for (const Kind kind : {Kind::kLetter, Kind::kNumber, Kind::kOther}) {
    if (text.is(word, kind)) return text.run(word, kind);
  }
  return space_run(text, whole, begin);
}

std::size_t next_qwen2(std::string_view whole, std::size_t begin, std::size_t digits) {
  const Cursor text(whole);
  if (const std::size_t length = contraction(text, begin, true)) return begin + length;
  std::size_t size = 0;
  const Kind first = text.kind(begin, size);
  if (first == Kind::kLetter) return text.run(begin, Kind::kLetter);
  if (first == Kind::kNumber) return text.run(begin, Kind::kNumber, digits);
  const bool is_line_end = whole[begin] == '\r' || whole[begin] == '\n';
  // One character that is neither letter, number nor line end may lead a word.
  if (!is_line_end && text.is(begin + size, Kind::kLetter)) {
    return text.run(begin + size, Kind::kLetter);
  }
  const std::size_t signs = begin + (whole[begin] == ' ' ? 1 : 0);
  if (text.is(signs, Kind::kOther)) return text.line_ends(text.run(signs, Kind::kOther));
  // \s*[\r\n]+ : up to the last line end of the run of space.
  const std::size_t end = text.run(begin, Kind::kSpace);
  for (std::size_t i = end; i > begin; --i) {
    if (whole[i - 1] == '\r' || whole[i - 1] == '\n') return i;
  }
  return space_run(text, whole, begin);
}

}  // namespace

std::string_view expression_of(KnownSplit kind) {
  switch (kind) {
    case KnownSplit::kGpt2:
      return kGpt2;
    case KnownSplit::kQwen2:
      return kQwen2;
    case KnownSplit::kLlama3:
      return kLlama3;
  }
  return {};
}

std::optional<KnownSplit> known_split(std::string_view expression) {
  for (const KnownSplit kind : {KnownSplit::kGpt2, KnownSplit::kQwen2, KnownSplit::kLlama3}) {
    if (expression_of(kind) == expression) return kind;
  }
  return std::nullopt;
}

std::size_t next_split(KnownSplit kind, std::string_view text, std::size_t begin) {
  switch (kind) {
    case KnownSplit::kGpt2:
      return next_gpt2(text, begin);
    case KnownSplit::kQwen2:
      return next_qwen2(text, begin, 1);
    case KnownSplit::kLlama3:
      break;
  }
  return next_qwen2(text, begin, 3);
}

}  // namespace wick::detail
