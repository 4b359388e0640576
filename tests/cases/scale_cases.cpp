#include <fmt/format.h>

#include <limits>

#include "cases/case_parts.hpp"
#include "reference/scale_ref.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick::testing {

namespace {

OpCase scale_case(const std::string& name, const Shape& shape, double factor,
                  Lay lay = Lay::kDense) {
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = shape, .lay = lay}};
  result.run = [factor](std::span<const Tensor> in) { return std::vector{scale(in[0], factor)}; };
  result.reference = [factor](std::span<const Array> in) {
    return std::vector{reference::scale_ref(in[0], factor)};
  };
  result.tolerance.condition = 0;  // rounded once
  result.gradient_condition = 1;
  return result;
}

OpCase with_values(OpCase result, const Values& values) {
  result.inputs[0].values = values;
  result.gradient = false;
  return result;
}

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const std::int64_t n : {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 1031}) {
    list.push_back(scale_case(fmt::format("n{}", n), {n}, 0.1));
  }
  list.push_back(scale_case("scalar", {}, -3));
  list.push_back(scale_case("empty", {4, 0}, 2));
  list.push_back(scale_case("four_axes", {2, 3, 2, 5}, 1.0 / 3));
  list.push_back(scale_case("by_one", {3, 11}, 1));
  list.push_back(scale_case("by_minus_one", {3, 11}, -1));
  list.push_back(scale_case("by_zero", {3, 11}, 0));
  list.push_back(scale_case("by_large", {3, 11}, 4097));
  list.push_back(scale_case("by_small", {3, 11}, 1e-3));
  // 1e-50 is 0 as a float.
  list.push_back(with_values(scale_case("factor_is_rounded", {4, 3}, 1e-50),
                             listed({1e30, kInf, -3e30, -kInf, 2})));
  list.back().only_dtypes = {DType::kF32, DType::kBF16};
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(scale_case(name, {5, 19}, -1.7, lay));
  }
  list.push_back(with_values(scale_case("specials", {5, 16}, 2.5), specials()));
  list.push_back(with_values(scale_case("specials_by_zero", {5, 16}, 0), specials()));
  list.push_back(with_values(scale_case("specials_by_infinity", {5, 16}, kInf), specials()));
  list.push_back(with_values(scale_case("large", {3, 33}, 1e10), normal(1e20)));
  list.back().only_dtypes = {DType::kF32, DType::kBF16};
  for (const auto& [R, D] : {std::pair{1024, 1024}, {512, 2048}, {1, 4096}}) {
    OpCase timed = scale_case(fmt::format("{}x{}", R, D), {R, D}, 0.125);
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * R * D;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list;
  for (const DType dtype : {DType::kI32, DType::kI64, DType::kU8, DType::kBool}) {
    const std::string name(to_string(dtype));
    list.push_back({name, ErrorKind::kDtype, {fmt::format("x [2,3] {}@cpu", name)}, [dtype] {
                      scale(Tensor::zeros({2, 3}, dtype), 2);
                    }});
  }
  list.push_back(
      {"undefined", ErrorKind::kArgument, {"x is undefined"}, [] { scale(Tensor(), 2); }});
  return list;
}

}  // namespace

OpSpec spec_scale() {
  return {.op = "scale", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
