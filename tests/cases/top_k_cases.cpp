#include "cases/reduction_cases.hpp"
#include "reference/top_k_ref.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::testing {

namespace {

using reductions::Along;

OpCase top_k_case(const std::string& name, const Along& along, std::int64_t k) {
  OpCase result;
  result.name = name;
  result.inputs = {along.input()};
  result.run = [axis = along.axis, k](std::span<const Tensor> in) {
    const ValuesAndIndices found = top_k(in[0], k, axis);
    return std::vector{found.values, found.indices};
  };
  result.reference = [axis = along.axis, k](std::span<const Array> in) {
    const auto found = reference::top_k_ref(in[0], k, axis);
    return std::vector{found.values, found.indices};
  };
  result.tolerance.condition = 0;  // values arrive as they were
  result.gradient_condition = 1;
  return result;
}

std::int64_t size_along(const Along& along) {
  return along.shape[along.axis < 0 ? along.axis + along.shape.rank() : along.axis];
}

// About a third of the axis.
OpCase third_case(const std::string& name, const Along& along) {
  return top_k_case(name, along, (size_along(along) + 2) / 3);
}

OpCase default_axis_case() {
  OpCase result = top_k_case("default_axis", {{3, 4, 13}}, 5);
  result.run = [](std::span<const Tensor> in) {
    const ValuesAndIndices found = top_k(in[0], 5);
    return std::vector{found.values, found.indices};
  };
  return result;
}

// The dtypes of both results.
OpCase dtype_case() {
  OpCase result = top_k_case("dtypes", {{3, 5}}, 2);
  result.gradient = false;
  result.run = [](std::span<const Tensor> in) {
    const ValuesAndIndices found = top_k(in[0], 2);
    return std::vector{flag(found.values.dtype() == in[0].dtype()),
                       flag(found.indices.dtype() == DType::kI64)};
  };
  result.reference = [](std::span<const Array>) { return std::vector{flag_ref(), flag_ref()}; };
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list = reductions::selection_cases(third_case);
  for (const std::int64_t k : {1, 2, 7, 8, 9, 16, 17, 64, 66, 67}) {
    list.push_back(top_k_case(fmt::format("{}_of_67", k), {{4, 67}}, k));
  }
  list.push_back(top_k_case("whole_first_axis", {{11, 5}, 0}, 11));
  list.push_back(top_k_case("one_of_one", {{3, 1}}, 1));
  list.push_back(
      reductions::with_values(top_k_case("whole_with_ties", {{3, 65}}, 65), integers(0, 4)));
  list.push_back(reductions::with_values(top_k_case("whole_with_specials", {{3, 41}}, 41),
                                         specials(), kFloating));
  list.push_back(reductions::with_values(top_k_case("50_of_4099", {{2, 4099}}, 50), normal(100)));
  list.push_back(
      reductions::with_values(top_k_case("1000_of_4099", {{2, 4099}}, 1000), normal(100)));
  // The worst orders for a selection that keeps the best so far.
  const auto ramp = [](double step) {
    return [step](Rng&, std::int64_t i, std::int64_t) { return step * static_cast<double>(i); };
  };
  list.push_back(reductions::with_values(top_k_case("ascending", {{1, 1031}}, 40), ramp(0.5)));
  list.push_back(reductions::with_values(top_k_case("descending", {{1, 1031}}, 40), ramp(-0.5)));
  list.push_back(default_axis_case());
  list.push_back(dtype_case());
  const auto best_50 = [](const std::string& name, const Along& along) {
    return top_k_case(name, along, 50);
  };
  reductions::add_timed_selections(best_50, list);
  return list;
}

std::vector<ErrorCase> errors() {
  std::vector<ErrorCase> list =
      reductions::selection_errors([](const Tensor& x, int axis) { top_k(x, 1, axis); });
  const auto bad_k = [&](const std::string& name, const Shape& shape, const std::string& text,
                         std::int64_t k, int axis) {
    list.push_back({name, ErrorKind::kArgument, {"top_k", text}, [=] {
                      top_k(Tensor::zeros(shape, DType::kF32), k, axis);
                    }});
  };
  bad_k("k_zero", {2, 3}, "x [2,3] f32@cpu", 0, -1);
  bad_k("k_negative", {2, 3}, "x [2,3] f32@cpu", -1, -1);
  bad_k("k_too_large", {2, 3}, "x [2,3] f32@cpu", 4, -1);
  bad_k("k_too_large_for_first_axis", {2, 3}, "x [2,3] f32@cpu", 3, 0);
  bad_k("empty_axis", {3, 0}, "x [3,0] f32@cpu", 1, -1);
  return list;
}

}  // namespace

OpSpec spec_top_k() {
  return {.op = "top_k", .dtypes = kFloatingAndIntegers, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
