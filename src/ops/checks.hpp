#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/tensor_impl.hpp"
#include "wick/base/error.hpp"
#include "wick/tensor/tensor.hpp"

// Rules name shapes as they are: only a broken rule makes text of them, which takes as long as a small op.
template <>
struct fmt::formatter<wick::Shape> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const wick::Shape& shape, Context& context) const {
    return fmt::formatter<std::string_view>::format(wick::to_string(shape), context);
  }
};

namespace wick::detail {

/// An operand by the name it has in the op's contract.
struct Named {
  std::string_view name;
  const Tensor& tensor;
  bool optional = false;  ///< may be undefined
};

/// The rules of one call: each broken one becomes an Error that carries the op and all operands. Made at the
/// top of an op, before anything is allocated or launched.
class Check {
 public:
  /// Throws when an operand that is not optional is undefined, or when they live on several devices.
  Check(std::string_view op, std::initializer_list<Named> operands);
  /// As above for a list of unknown length, all under one name.
  Check(std::string_view op, std::string_view name, std::span<const Tensor> operands);

  std::string_view op() const noexcept { return op_; }

  /// Throws an Error of `kind` with the formatted rule unless `holds`.
  template <class... Values>
  void that(bool holds, ErrorKind kind, fmt::format_string<Values...> rule,
            Values&&... values) const {
    if (!holds) fail(kind, fmt::format(rule, std::forward<Values>(values)...));
  }

  /// kDtype unless f32, f16 or bf16.
  void floating(std::string_view name, const Tensor& tensor) const;
  /// kDtype unless f32, f16, bf16, i32 or i64.
  void number(std::string_view name, const Tensor& tensor) const;
  /// kDtype unless i32 or i64.
  void index(std::string_view name, const Tensor& tensor) const;
  /// kDtype unless both have one dtype.
  void same_dtype(std::string_view name_a, const Tensor& a, std::string_view name_b,
                  const Tensor& b) const;
  /// kShape unless `tensor` has this shape; `why` completes "must be [4096] …".
  void shape(std::string_view name, const Tensor& tensor, const Shape& expected,
             std::string_view why) const;
  /// `axis` counted from the front. kShape when it is out of range.
  int axis(std::string_view name, const Tensor& tensor, int axis) const;
  /// For ops that write: kArgument when the tape needs the tensor, or when elements are repeated.
  void writable(std::string_view name, const Tensor& tensor) const;
  /// kArgument when a write to `target` would change `source` too.
  void apart(std::string_view name, const Tensor& target, std::string_view source_name,
             const Tensor& source) const;

  [[noreturn]] void fail(ErrorKind kind, std::string rule) const;

 private:
  struct Entry {
    std::string_view name;
    const Tensor* tensor;
  };
  void same_device() const;

  std::string_view op_;
  std::vector<Entry> operands_;
};

}  // namespace wick::detail
