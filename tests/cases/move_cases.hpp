#pragma once

#include <fmt/format.h>

#include "cases/case_parts.hpp"
#include "reference/cast_ref.hpp"

// What the ops that move elements, and the views, are tested with.

namespace wick::testing::moves {

using Run = std::function<Tensor(std::span<const Tensor>)>;
using Reference = std::function<Array(std::span<const Array>)>;

inline constexpr std::int64_t kMostDifferentiated = 300;

/// A case of an op whose elements arrive as they were, hence without any condition. Central
/// differences of more elements of this size than kMostDifferentiated drown in the rounding of
/// their sum.
inline OpCase move_case(const std::string& name, std::vector<Input> inputs, const Run& run,
                        const Reference& reference) {
  OpCase result;
  result.name = name;
  std::int64_t numel = 0;
  for (const Input& input : inputs) numel += input.shape.numel();
  result.gradient = numel <= kMostDifferentiated;
  result.inputs = std::move(inputs);
  result.run = [run](std::span<const Tensor> in) { return std::vector{run(in)}; };
  result.reference = [reference](std::span<const Array> in) { return std::vector{reference(in)}; };
  result.tolerance.condition = 0;
  result.gradient_condition = 1;
  return result;
}

/// An input of any dtype.
inline Input input(const Shape& shape, Lay lay = Lay::kDense) {
  return {.name = "x", .shape = shape, .values = for_any_dtype(), .lay = lay};
}

/// The case with one more result: whether the op's result shares memory with the first input.
inline OpCase with_sharing(OpCase result, bool shares) {
  result.run = [run = result.run](std::span<const Tensor> in) {
    std::vector<Tensor> results = run(in);
    results.push_back(flag(results[0].shares_storage_with(in[0])));
    return results;
  };
  result.reference = [reference = result.reference, shares](std::span<const Array> in) {
    std::vector<Array> results = reference(in);
    results.push_back(flag_ref(shares));
    return results;
  };
  result.gradient = false;
  return result;
}

/// x converted to `dtype` in double.
inline Array converted_ref(const Array& x, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return reference::cast_to_floating_ref(x, reference::kBinary32);
    case DType::kF16:
      return reference::cast_to_floating_ref(x, reference::kBinary16);
    case DType::kBF16:
      return reference::cast_to_floating_ref(x, reference::kBFloat16);
    case DType::kI32:
      return reference::cast_to_integer_ref(x, -0x1p31, 0x1p31 - 1);
    case DType::kI64:
      return reference::cast_to_integer_ref(x, -0x1p63, 0x1p63);  // 2^63 − 1 as a double
    case DType::kU8:
      return reference::cast_to_integer_ref(x, 0, 255);
    case DType::kBool:
      return reference::cast_to_bool_ref(x);
  }
  return {};
}

/// That the op refuses an undefined x.
inline ErrorCase undefined_case(const std::function<void(const Tensor&)>& op) {
  return {"undefined", ErrorKind::kArgument, {"x is undefined"}, [op] { op(Tensor()); }};
}

}  // namespace wick::testing::moves
