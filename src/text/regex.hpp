#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wick::detail {

/// A stretch of a text, in bytes.
using Range = std::pair<std::size_t, std::size_t>;

/// A regular expression in Oniguruma's syntax, as tokenizer.json holds them. Safe to use from many threads.
class Regex {
 public:
  struct Impl;
  /// Throws Error kParse with `where`, the pattern and the place of the mistake; kUnsupported for what cannot be
  /// matched as Oniguruma does.
  Regex(const std::string& pattern, std::string_view where);
  /// All matches from left to right. An empty one counts unless it touches the one before; an empty text has none.
  /// Throws Error kArgument when matching takes unreasonably long.
  std::vector<Range> find_all(std::string_view text) const;

 private:
  std::shared_ptr<const Impl> impl_;
};

/// What a component searches for: a fixed text or a regular expression.
class Pattern {
 public:
  static Pattern text(std::string text);
  static Pattern regex(const std::string& pattern, std::string_view where);
  std::vector<Range> find_all(std::string_view text) const;
  /// The text with every match replaced.
  std::string replace(std::string_view text, std::string_view replacement) const;
  /// The regular expression; empty for a fixed text.
  const std::string& expression() const noexcept { return expression_; }

 private:
  std::string text_;
  std::string expression_;
  std::shared_ptr<const Regex> regex_;
};

}  // namespace wick::detail
