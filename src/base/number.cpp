#include "base/number.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>
#include <string>

namespace wick::detail {

namespace {

// Takes the digits at the start of `text` off and returns how many there were.
std::size_t skip_digits(std::string_view& text) {
  const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(count);
  return count;
}

bool skip(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

bool is_decimal(std::string_view text) {
  skip(text, "-");
  std::size_t digits = skip_digits(text);
  if (skip(text, ".")) digits += skip_digits(text);
  if (digits == 0) return false;
  if (skip(text, "eE")) {
    skip(text, "+-");
    if (skip_digits(text) == 0) return false;
  }
  return text.empty();
}

}  // namespace

bool read_number(std::string_view text, double& value) {
  if (!is_decimal(text)) return false;
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double read = 0;
  if (!(stream >> read) || !std::isfinite(read)) return false;
  value = read;
  return true;
}

bool read_number(std::string_view text, std::int64_t& value) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  std::int64_t read = 0;
  const auto [stop, error] = std::from_chars(begin, end, read);
  if (error != std::errc{} || stop != end) return false;
  value = read;
  return true;
}

}  // namespace wick::detail
