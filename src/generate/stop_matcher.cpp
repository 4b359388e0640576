#include "generate/stop_matcher.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// A byte that goes on a character that began before it.
bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

// The end of `text` that is the longest beginning of a stop string.
std::size_t unfinished_suffix(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t longest = 0;
  for (const std::string_view stop : stops) {
    for (std::size_t length = std::min(stop.size() - 1, text.size()); length > longest; --length) {
      if (text.ends_with(stop.substr(0, length))) longest = length;
    }
  }
  return longest;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    if (stops_[i].empty()) {
      throw Error(ErrorKind::kArgument, "generate", fmt::format("stop string {} is empty", i));
    }
    if (continues_character(stops_[i].front())) {
      throw Error(ErrorKind::kArgument, "generate",
                  fmt::format("stop string {} begins inside a UTF-8 character", i));
    }
  }
}

std::string StopMatcher::push(std::string_view piece) {
  if (found_) return {};
  held_ += piece;
  std::size_t first_end = std::string::npos;
  std::size_t begin = held_.size();
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const std::size_t end = at + stop.size();
    if (end < first_end || (end == first_end && at < begin)) {
      first_end = end;
      begin = at;
    }
  }
  found_ = first_end != std::string::npos;
  if (!found_) begin = held_.size() - unfinished_suffix(held_, stops_);
  std::string certain = held_.substr(0, begin);
  held_.erase(0, found_ ? held_.size() : begin);
  return certain;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace wick::detail
