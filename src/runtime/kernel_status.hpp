#pragma once

#include <string>
#include <utility>

namespace wick {

/// What a kernel entry answers. Anything but ok means that nothing was enqueued and no output touched.
class KernelStatus {
 public:
  /// The work is enqueued.
  static KernelStatus ok() { return KernelStatus(Code::kOk, {}); }
  /// This backend cannot do the call, and says why; a composition or another variant may.
  static KernelStatus unsupported(std::string reason) {
    return KernelStatus(Code::kUnsupported, std::move(reason));
  }
  /// The values of an operand break the op's contract (an index out of range, say).
  static KernelStatus invalid(std::string reason) {
    return KernelStatus(Code::kInvalid, std::move(reason));
  }

  bool is_ok() const noexcept { return code_ == Code::kOk; }
  bool is_unsupported() const noexcept { return code_ == Code::kUnsupported; }
  bool is_invalid() const noexcept { return code_ == Code::kInvalid; }
  const std::string& reason() const noexcept { return reason_; }

 private:
  enum class Code { kOk, kUnsupported, kInvalid };
  KernelStatus(Code code, std::string reason) : code_(code), reason_(std::move(reason)) {}

  Code code_;
  std::string reason_;
};

}  // namespace wick
