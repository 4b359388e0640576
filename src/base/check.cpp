#include "base/check.hpp"

#include <fmt/format.h>

#include "wick/base/error.hpp"

namespace wick::detail {

void throw_internal(std::string_view what, std::source_location where) {
  throw Error(ErrorKind::kInternal, where.function_name(),
              fmt::format("{} ({}:{})", what, where.file_name(), where.line()));
}

}  // namespace wick::detail
