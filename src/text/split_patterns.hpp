#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace wick::detail {

/// The three regular expressions that most byte-level tokenizers split text by, matched by hand: many times the speed of
/// a general engine, and the same pieces.
enum class KnownSplit { kGpt2, kQwen2, kLlama3 };

/// Recognises an expression by its exact text.
std::optional<KnownSplit> known_split(std::string_view expression);
/// The expression of a kind.
std::string_view expression_of(KnownSplit kind);
/// End of the piece that begins at `begin`, which must be before the end of `text`. Every byte is in some piece.
std::size_t next_split(KnownSplit kind, std::string_view text, std::size_t begin);

}  // namespace wick::detail
