#include "wick/base/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

namespace wick {

std::string_view to_string(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::kShape:
      return "shape";
    case ErrorKind::kDtype:
      return "dtype";
    case ErrorKind::kDevice:
      return "device";
    case ErrorKind::kArgument:
      return "argument";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kOutOfMemory:
      return "out of memory";
    case ErrorKind::kBackend:
      return "backend";
    case ErrorKind::kIo:
      return "io";
    case ErrorKind::kParse:
      return "parse";
    case ErrorKind::kInternal:
      return "internal";
  }
  return "unknown";
}

namespace {

std::string render(const std::string& op, const std::string& rule,
                   const std::vector<Operand>& operands, const std::string& hint) {
  std::string text = fmt::format("{}: {}", op, rule);
  const char* separator = "; got ";
  for (const Operand& operand : operands) {
    text += fmt::format("{}{} [{}] {}@{}", separator, operand.name, fmt::join(operand.shape, ","),
                        operand.dtype, operand.device);
    separator = ", ";
  }
  if (!hint.empty()) text += "; " + hint;
  return text;
}

}  // namespace

Error::Error(ErrorKind kind, std::string op, std::string rule, std::vector<Operand> operands,
             std::string hint)
    : kind_(kind),
      op_(std::move(op)),
      rule_(std::move(rule)),
      operands_(std::move(operands)),
      hint_(std::move(hint)),
      text_(render(op_, rule_, operands_, hint_)) {}

}  // namespace wick
