#pragma once

#include <cstddef>
#include <string>

#include "wick/apple/metal.hpp"
#include "wick/base/error.hpp"

namespace wick::apple::metal::detail {

/// Throws Error kArgument: a call that Metal would end the process for.
[[noreturn]] inline void refuse(std::string_view op, std::string rule) {
  throw Error(ErrorKind::kArgument, std::string(op), std::move(rule));
}

/// "64x4x1".
inline std::string to_text(Size size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height) + "x" +
         std::to_string(size.depth);
}

/// Throws unless [offset, offset + bytes) is a range of the buffer that is not empty.
inline void check_range(std::string_view op, std::string_view name, const Buffer& buffer,
                        std::size_t offset, std::size_t bytes) {
  if (bytes == 0) refuse(op, "the number of bytes must not be 0");
  if (offset > buffer.length() || bytes > buffer.length() - offset) {
    refuse(op, std::string(name) + " has " + std::to_string(buffer.length()) +
                   " bytes; got offset " + std::to_string(offset) + " and " +
                   std::to_string(bytes) + " bytes");
  }
}

}  // namespace wick::apple::metal::detail
