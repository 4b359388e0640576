#pragma once

#include <cstdint>
#include <string_view>

namespace wick::detail {

/// Sets `value` to the decimal number that all of `text` is: digits with, where wanted, a sign '-', a point and an
/// exponent; false where it is none or not finite. The same in every locale. For standard libraries whose
/// std::from_chars knows no floating point, which Apple's is.
bool read_number(std::string_view text, double& value);

/// Sets `value` to the whole number that all of `text` is; false where it is none or too large.
bool read_number(std::string_view text, std::int64_t& value);

}  // namespace wick::detail
