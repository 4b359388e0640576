#pragma once

#include <string>
#include <string_view>

namespace wick::detail {

/// GPT-2's map from bytes to printable characters: every byte as one character, a space as Ġ.
std::string bytes_to_characters(std::string_view bytes);

/// The bytes that a token stands for. A token with a character outside the map stands for itself.
std::string characters_to_bytes(std::string_view token);

}  // namespace wick::detail
