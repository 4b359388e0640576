#include "cases/move_cases.hpp"
#include "reference/transpose_ref.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

OpCase transpose_case(const std::string& name, const Shape& shape, int axis_a, int axis_b,
                      Lay lay = Lay::kDense) {
  return moves::move_case(
      name, {moves::input(shape, lay)},
      [=](std::span<const Tensor> in) { return transpose(in[0], axis_a, axis_b); },
      [=](std::span<const Array> in) { return reference::transpose_ref(in[0], axis_a, axis_b); });
}

OpCase default_case(const std::string& name, const Shape& shape, Lay lay = Lay::kDense) {
  return moves::move_case(
      name, {moves::input(shape, lay)}, [](std::span<const Tensor> in) { return transpose(in[0]); },
      [](std::span<const Array> in) { return reference::transpose_ref(in[0], -2, -1); });
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(default_case("matrix", {5, 17}));
  list.push_back(default_case("square", {16, 16}));
  list.push_back(default_case("one_row", {1, 9}));
  list.push_back(default_case("batch", {3, 4, 7}));
  list.push_back(default_case("four_axes", {2, 3, 5, 4}));
  list.push_back(default_case("empty", {0, 4}));
  list.push_back(default_case("tiles", {65, 33}));
  list.push_back(transpose_case("axes_0_1", {2, 3, 5}, 0, 1));
  list.push_back(transpose_case("axes_1_0", {2, 3, 5}, 1, 0));
  list.push_back(transpose_case("axes_0_2", {2, 3, 5}, 0, 2));
  list.push_back(transpose_case("negative_axes", {2, 3, 5, 4}, -3, -1));
  list.push_back(transpose_case("mixed_signs", {2, 3, 5, 4}, 0, -2));
  list.push_back(transpose_case("six_axes", {2, 3, 1, 2, 4, 3}, 1, 4));
  list.push_back(transpose_case("heads", {2, 7, 3, 8}, 1, 2));
  list.push_back(transpose_case("an_axis_with_itself", {3, 7}, 1, -1));
  list.push_back(transpose_case("vector_with_itself", {7}, 0, -1));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(default_case("last_" + name, {3, 4, 9}, lay));
    list.push_back(transpose_case("ends_" + name, {3, 4, 9}, 0, 2, lay));
  }
  list.push_back(moves::with_sharing(default_case("is_a_view", {4, 9}), true));
  return list;
}

std::vector<ErrorCase> errors() {
  const auto refused = [](const std::string& name, int axis_a, int axis_b) {
    return ErrorCase{name, ErrorKind::kShape, {"transpose", "x [2,3,4] i64@cpu"}, [=] {
                       transpose(Tensor::zeros({2, 3, 4}, DType::kI64), axis_a, axis_b);
                     }};
  };
  return {
      refused("a_too_high", 3, 0),
      refused("a_too_low", -4, 0),
      refused("b_too_high", 0, 3),
      refused("b_too_low", 0, -4),
      {"default_of_a_vector",
       ErrorKind::kShape,
       {"x [5] f32@cpu"},
       [] { transpose(Tensor::zeros({5}, DType::kF32)); }},
      {"default_of_a_scalar",
       ErrorKind::kShape,
       {"x [] f32@cpu"},
       [] { transpose(Tensor::zeros({}, DType::kF32)); }},
      moves::undefined_case([](const Tensor& x) { transpose(x); }),
  };
}

}  // namespace

OpSpec spec_transpose() {
  return {.op = "transpose", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
