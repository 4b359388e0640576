#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wick::detail {

/// Looks for stop strings in text that arrives in pieces, and holds back what may be the beginning of one.
///
/// The stop string that is complete first ends the text; of several that end together the longest. So the result does
/// not depend on how the text was cut into pieces.
class StopMatcher {
 public:
  /// Throws Error kArgument for a stop string that is empty or does not begin with a character of UTF-8.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Text that has become certain with this piece: nothing of a stop string, and nothing after it. Pieces of valid UTF-8
  /// give pieces of valid UTF-8.
  std::string push(std::string_view piece);
  /// What was held back, when no more text follows.
  std::string finish();
  /// True when a stop string was found.
  bool found() const noexcept { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace wick::detail
