#pragma once

#include <source_location>
#include <string_view>

namespace wick::detail {

/// Throws Error kInternal with the place of the broken invariant.
[[noreturn]] void throw_internal(std::string_view what,
                                 std::source_location where = std::source_location::current());

/// For our own invariants, in every build: user input is checked with the op's own errors instead.
inline void check(bool holds, std::string_view what,
                  std::source_location where = std::source_location::current()) {
  if (!holds) throw_internal(what, where);
}

}  // namespace wick::detail
