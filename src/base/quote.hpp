#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wick::detail {

/// Text from a file, in quotes and safe for a message: control characters and bytes that are no UTF-8 appear as
/// \xNN, and what is longer than `limit` bytes is cut with an ellipsis.
std::string quote(std::string_view text, std::size_t limit = 80);

/// As quote(), without the quotes.
std::string printable(std::string_view text, std::size_t limit = 80);

/// The number of bytes of the UTF-8 character at the start of `text`, or 0 when there is no valid one: overlong
/// forms, surrogates and what lies above U+10FFFF are invalid.
std::size_t utf8_length(std::string_view text) noexcept;

}  // namespace wick::detail
