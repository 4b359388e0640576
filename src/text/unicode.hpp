#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wick::detail {

/// One character and the bytes it takes.
struct CodePoint {
  char32_t value = 0;
  std::size_t size = 0;
};

/// The character at `position` of valid UTF-8.
CodePoint code_point_at(std::string_view text, std::size_t position) noexcept;
/// The character that ends before `position`, which must not be 0.
CodePoint code_point_before(std::string_view text, std::size_t position) noexcept;
/// Appends a character as UTF-8.
void append_utf8(std::string& text, char32_t value);
/// The first byte that is no part of valid UTF-8; text.size() when all is.
std::size_t first_invalid_utf8(std::string_view text) noexcept;
/// Replaces what is no UTF-8 by U+FFFD, one for each longest beginning of a character.
std::string lossy_utf8(std::string_view bytes);

/// Unicode's normal forms.
enum class NormalForm { kC, kD, kKc, kKd };
/// `text` in a normal form.
std::string normalized(std::string_view text, NormalForm form);
/// `text` in lower case by Unicode's full mapping.
std::string lowercased(std::string_view text);

/// End of the grapheme, what a reader takes for one character, that begins at `begin` of valid UTF-8.
std::size_t grapheme_end(std::string_view text, std::size_t begin) noexcept;

bool is_letter(char32_t c) noexcept;           ///< \p{L}
bool is_number(char32_t c) noexcept;           ///< \p{N}
bool is_white_space(char32_t c) noexcept;      ///< the property White_Space, \s
bool is_nonspacing_mark(char32_t c) noexcept;  ///< \p{Mn}
bool is_mark(char32_t c) noexcept;             ///< \p{M}
bool is_punctuation(char32_t c) noexcept;      ///< ASCII punctuation and \p{P}
bool is_control(char32_t c) noexcept;          ///< \p{Cc}, \p{Cf}, \p{Co}
/// \w as the Unicode standard recommends it: alphabetic characters, marks, decimal digits, connectors and joiners.
bool is_word(char32_t c) noexcept;

}  // namespace wick::detail
