#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace wick {

/// What went wrong, for callers that branch. The text of an error is for people only.
enum class ErrorKind {
  kShape,        ///< a shape, rank, axis or element count does not fit
  kDtype,        ///< a data type is not allowed here
  kDevice,       ///< operands live on different devices, or the device does not exist
  kArgument,     ///< a value is out of range, or a call came at the wrong time
  kUnsupported,  ///< valid, but this device or this op cannot do it
  kOutOfMemory,  ///< an allocation failed or a memory limit was reached
  kBackend,      ///< a device or vendor library reported a failure
  kIo,           ///< a file or stream could not be read or written
  kParse,        ///< a file's content breaks its format
  kInternal,     ///< a broken invariant of Wick itself
};

/// The name of `kind` as it is written in documentation, for example "shape".
std::string_view to_string(ErrorKind kind) noexcept;

/// One operand of a failed call. Text is rendered as `name [2,3] f32@cpu`.
struct Operand {
  std::string name;
  std::vector<std::int64_t> shape;
  std::string dtype;
  std::string device;
};

/// Thrown by every public call that cannot do what was asked.
///
/// `what()` reads `op: rule; got name [shape] dtype@device, …; hint`.
class Error : public std::exception {
 public:
  /// Makes an error from its fields; the text is rendered from them.
  Error(ErrorKind kind, std::string op, std::string rule, std::vector<Operand> operands = {},
        std::string hint = {});

  /// The kind to branch on.
  ErrorKind kind() const noexcept { return kind_; }
  /// The op or function that refused, for example "rms_norm".
  const std::string& op() const noexcept { return op_; }
  /// The rule that was broken, without the operands.
  const std::string& rule() const noexcept { return rule_; }
  /// The operands as they were given.
  const std::vector<Operand>& operands() const noexcept { return operands_; }
  /// What to do about it; may be empty.
  const std::string& hint() const noexcept { return hint_; }
  /// The whole message.
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  ErrorKind kind_;
  std::string op_;
  std::string rule_;
  std::vector<Operand> operands_;
  std::string hint_;
  std::string text_;
};

}  // namespace wick
