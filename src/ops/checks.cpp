#include "ops/checks.hpp"

#include <algorithm>
#include <string>

#include "autograd/tape.hpp"

namespace wick::detail {

Check::Check(std::string_view op, std::initializer_list<Named> operands) : op_(op) {
  for (const Named& operand : operands) {
    if (operand.tensor.defined()) {
      operands_.push_back({operand.name, &operand.tensor});
    } else if (!operand.optional) {
      throw Error(ErrorKind::kArgument, std::string(op),
                  fmt::format("{} is undefined", operand.name));
    }
  }
  same_device();
}

Check::Check(std::string_view op, std::string_view name, std::span<const Tensor> operands)
    : op_(op) {
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (!operands[i].defined()) {
      throw Error(ErrorKind::kArgument, std::string(op),
                  fmt::format("{} {} is undefined", name, i));
    }
    operands_.push_back({name, &operands[i]});
  }
  same_device();
}

void Check::same_device() const {
  for (const Entry& entry : operands_) {
    if (entry.tensor->device() != operands_.front().tensor->device()) {
      fail(ErrorKind::kDevice, "all operands must be on one device");
    }
  }
}

void Check::fail(ErrorKind kind, std::string rule) const {
  std::vector<Operand> given;
  given.reserve(operands_.size());
  for (const Entry& entry : operands_) given.push_back(describe(entry.name, *entry.tensor));
  throw Error(kind, std::string(op_), std::move(rule), std::move(given));
}

void Check::floating(std::string_view name, const Tensor& tensor) const {
  that(is_floating(tensor.dtype()), ErrorKind::kDtype, "{} must be f32, f16 or bf16", name);
}

void Check::number(std::string_view name, const Tensor& tensor) const {
  const DType dtype = tensor.dtype();
  that(is_floating(dtype) || dtype == DType::kI32 || dtype == DType::kI64, ErrorKind::kDtype,
       "{} must be f32, f16, bf16, i32 or i64", name);
}

void Check::index(std::string_view name, const Tensor& tensor) const {
  const DType dtype = tensor.dtype();
  that(dtype == DType::kI32 || dtype == DType::kI64, ErrorKind::kDtype, "{} must be i32 or i64",
       name);
}

void Check::same_dtype(std::string_view name_a, const Tensor& a, std::string_view name_b,
                       const Tensor& b) const {
  that(a.dtype() == b.dtype(), ErrorKind::kDtype, "{} and {} must have one dtype", name_a, name_b);
}

void Check::shape(std::string_view name, const Tensor& tensor, const Shape& expected,
                  std::string_view why) const {
  that(tensor.shape() == expected, ErrorKind::kShape, "{} must be {} {}", name, expected, why);
}

int Check::axis(std::string_view name, const Tensor& tensor, int axis) const {
  const int from_front = axis < 0 ? axis + tensor.rank() : axis;
  that(from_front >= 0 && from_front < tensor.rank(), ErrorKind::kShape,
       "axis {} is out of range for {} of rank {}", axis, name, tensor.rank());
  return from_front;
}

void Check::writable(std::string_view name, const Tensor& tensor) const {
  that(!(grad_mode() != GradMode::kOff && tensor.requires_grad()), ErrorKind::kArgument,
       "{} requires a gradient and must not be overwritten while ops are recorded (NoGradGuard "
       "allows it)",
       name);
  const Layout& layout = layout_of(tensor);
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    that(layout.strides[static_cast<std::size_t>(axis)] != 0 || layout.shape[axis] <= 1,
         ErrorKind::kArgument, "{} repeats elements and cannot be written to", name);
  }
}

void Check::apart(std::string_view name, const Tensor& target, std::string_view source_name,
                  const Tensor& source) const {
  that(!target.shares_storage_with(source), ErrorKind::kArgument,
       "{} must not share memory with {}", name, source_name);
}

}  // namespace wick::detail
