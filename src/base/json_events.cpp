#include "base/json_events.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>

#include "base/quote.hpp"
#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

// Characters of the text one after the other; tells how many were read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(std::string_view text, std::size_t index, std::size_t& seen)
      : text_(text), index_(index), seen_(&seen) {}

  const char& operator*() const { return text_[index_]; }
  CountingIterator& operator++() {
    *seen_ = ++index_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return index_ == other.index_; }

 private:
  std::string_view text_;
  std::size_t index_;
  std::size_t* seen_;
};

// The problem alone, without the library's own "[json.exception.…] parse error at line 1, column 2: ".
std::string problem_of(std::string_view message) {
  constexpr std::string_view kBeforeProblem = ": ";
  if (const auto code = message.find("] "); code != std::string_view::npos) {
    message.remove_prefix(code + 2);
  }
  if (message.starts_with("parse error")) {
    const auto problem = message.find(kBeforeProblem);
    if (problem != std::string_view::npos) message.remove_prefix(problem + kBeforeProblem.size());
  }
  return printable(message, 240);
}

}  // namespace

void JsonEvents::read() {
  // The parser takes this for the end of the text.
  const std::size_t zero = text_.find('\0');
  if (zero != std::string_view::npos) fail_at(zero, "a zero byte");
  nlohmann::json::sax_parse(CountingIterator(text_, 0, position_),
                            CountingIterator(text_, text_.size(), position_), this);
}

void JsonEvents::enter() {
  if (++depth_ > kDeepest) {
    fail_at(position_ - 1, fmt::format("lists and objects nest more than {} deep", kDeepest));
  }
}

bool JsonEvents::start_object(std::size_t) {
  enter();
  begin_object();
  return true;
}

bool JsonEvents::start_array(std::size_t) {
  enter();
  begin_array();
  return true;
}

bool JsonEvents::end_object() {
  finish_object();
  --depth_;
  return true;
}

bool JsonEvents::end_array() {
  finish_array();
  --depth_;
  return true;
}

bool JsonEvents::parse_error(std::size_t position, const std::string&,
                             const nlohmann::detail::exception& error) {
  // The library counts from 1.
  fail_at(position == 0 ? 0 : position - 1, problem_of(error.what()));
}

std::size_t JsonEvents::string_start() const noexcept {
  // The last byte read is the closing quote. A quote inside is escaped: it follows an odd number of backslashes.
  std::size_t quote = position_ - 1;
  for (;;) {
    quote = text_.rfind('"', quote - 1);
    const std::size_t before = text_.find_last_not_of('\\', quote - 1);
    if (quote == 0 || (quote - 1 - before) % 2 == 0) return quote;
  }
}

void JsonEvents::fail_at(std::size_t byte, std::string_view problem) const {
  throw Error(ErrorKind::kParse, where_, fmt::format("byte {}: {}", first_byte_ + byte, problem));
}

}  // namespace wick::detail
