#include "cases/reduction_cases.hpp"
#include "reference/max_ref.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::testing {

namespace {

using reductions::Along;

OpCase make_case(const std::string& name, const Along& along, bool keepdim) {
  OpCase result;
  result.name = name;
  result.inputs = {along.input()};
  result.run = [axis = along.axis, keepdim](std::span<const Tensor> in) {
    const ValuesAndIndices found = max(in[0], axis, keepdim);
    return std::vector{found.values, found.indices};
  };
  result.reference = [axis = along.axis, keepdim](std::span<const Array> in) {
    const auto found = reference::max_ref(in[0], axis, keepdim);
    return std::vector{found.values, found.indices};
  };
  result.tolerance.condition = 0;  // values arrive as they were
  result.gradient_condition = 1;
  return result;
}

OpCase max_case(const std::string& name, const Along& along) {
  return make_case(name, along, false);
}

// The dtypes of both results.
OpCase dtype_case() {
  OpCase result = max_case("dtypes", {{3, 5}});
  result.gradient = false;
  result.run = [](std::span<const Tensor> in) {
    const ValuesAndIndices found = max(in[0], -1);
    return std::vector{flag(found.values.dtype() == in[0].dtype()),
                       flag(found.indices.dtype() == DType::kI64)};
  };
  result.reference = [](std::span<const Array>) { return std::vector{flag_ref(), flag_ref()}; };
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list = reductions::selection_cases(max_case);
  list.push_back(make_case("keepdim", {{4, 9}}, true));
  list.push_back(make_case("keepdim_middle", {{3, 7, 5}, 1}, true));
  list.push_back(make_case("keepdim_vector", {{23}, 0}, true));
  list.push_back(make_case("keepdim_transposed", {{6, 11}, 0, Lay::kTransposed}, true));
  list.push_back(dtype_case());
  reductions::add_timed_selections(max_case, list);
  return list;
}

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list =
      reductions::selection_errors([](const Tensor& x, int axis) { max(x, axis); });
  list.push_back({"empty_axis", ErrorKind::kShape, {"x [3,0] f32@cpu"}, [] {
                    max(Tensor::zeros({3, 0}, DType::kF32), 1);
                  }});
  list.push_back({"empty_axis_of_nothing", ErrorKind::kShape, {"x [0,0] f32@cpu"}, [] {
                    max(Tensor::zeros({0, 0}, DType::kF32), 0, true);
                  }});
  return list;
}

}  // namespace

OpSpec spec_max() {
  return {.op = "max", .dtypes = kFloatingAndIntegers, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
