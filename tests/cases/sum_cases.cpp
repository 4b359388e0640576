#include "cases/sum_cases.hpp"

#include "reference/sum_ref.hpp"

namespace wick::testing {

namespace {

const sums::Reduction kSum = {
    .op = &wick::sum, .reference = &reference::sum_ref, .magnitude = &reference::sum_magnitude};

// Integers add up in i64, exactly.
OpCase integer_case(const std::string& name, DType dtype, const std::vector<double>& values) {
  OpCase result = sums::sum_case(kSum, name, {3, 35}, {.axes = {1}});
  result.inputs[0].values = listed(values);
  result.only_dtypes = {dtype};
  result.tolerance = {.condition = 0};
  result.gradient = false;
  return result;
}

OpCase dtype_case() {
  OpCase result = sums::sum_case(kSum, "dtype", {3, 5}, {.axes = {1}});
  result.run = [](std::span<const Tensor> in) {
    const Tensor out = sum(in[0], {.axes = {1}});
    const DType expected = is_floating(in[0].dtype()) ? in[0].dtype() : DType::kI64;
    return std::vector{flag(out.dtype() == expected)};
  };
  result.reference = [](std::span<const Array>) { return std::vector{flag_ref()}; };
  result.tolerance = {};
  result.gradient = false;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list = sums::cases(kSum);
  list.push_back(sums::sum_case(kSum, "of_nothing", {0}, {}));
  list.push_back(sums::sum_case(kSum, "empty_axis", {3, 0}, {.axes = {1}}));
  list.push_back(
      sums::sum_case(kSum, "empty_axis_keepdim", {3, 0, 2}, {.axes = {1}, .keepdim = true}));
  list.push_back(sums::sum_case(kSum, "empty_first_axis", {0, 5}, {.axes = {0}}));
  list.push_back(integer_case("i32_passes_i32", DType::kI32, {0x7FFFFFFF, 0x7FFFFFFE, 0x7FFFFFF0}));
  list.push_back(integer_case("i32_below_i32", DType::kI32, {-0x1p31, -0x1p31, -5}));
  list.push_back(integer_case("i64_large", DType::kI64, {0x1p46 + 1, -0x1p45 - 3, 0x1p44 + 7, 11}));
  list.push_back(dtype_case());
  return list;
}

}  // namespace

OpSpec spec_sum() {
  return {
      .op = "sum", .dtypes = kFloatingAndIntegers, .cases = cases(), .errors = sums::errors(kSum)};
}

}  // namespace wick::testing
