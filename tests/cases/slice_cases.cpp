#include "cases/move_cases.hpp"
#include "reference/concatenate_ref.hpp"
#include "reference/slice_ref.hpp"
#include "wick/ops/move.hpp"

namespace wick::testing {

namespace {

struct Range {
  int axis;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t step = 1;
};

OpCase slice_case(const std::string& name, const Shape& shape, const Range& range,
                  Lay lay = Lay::kDense) {
  return moves::move_case(
      name, {moves::input(shape, lay)},
      [=](std::span<const Tensor> in) {
        return slice(in[0], range.axis, range.begin, range.end, range.step);
      },
      [=](std::span<const Array> in) {
        return reference::slice_ref(in[0], range.axis, range.begin, range.end, range.step);
      });
}

OpCase nested_case() {
  return moves::move_case(
      "slice_of_a_slice", {moves::input({9, 23})},
      [](std::span<const Tensor> in) {
        return slice(slice(slice(in[0], 1, 2, 23, 3), 0, 1, 8, 2), -1, 1, 6, 2);
      },
      [](std::span<const Array> in) {
        const Array columns = reference::slice_ref(in[0], 1, 2, 23, 3);
        const Array rows = reference::slice_ref(columns, 0, 1, 8, 2);
        return reference::slice_ref(rows, -1, 1, 6, 2);
      });
}

// Overlapping parts of one input: its gradient adds up.
OpCase overlapping_case() {
  OpCase result = slice_case("two_that_overlap", {3, 10}, {1, 0, 7});
  result.run = [](std::span<const Tensor> in) {
    const Tensor x = not_a_leaf(in[0]);
    return std::vector{concatenate({slice(x, 1, 0, 7), slice(x, 1, 4, 10, 2)}, 1)};
  };
  result.reference = [](std::span<const Array> in) {
    const std::vector parts = {reference::slice_ref(in[0], 1, 0, 7, 1),
                               reference::slice_ref(in[0], 1, 4, 10, 2)};
    return std::vector{reference::concatenate_ref(parts, 1)};
  };
  result.tolerance = with_rounded_gradient(result);
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(slice_case("vector", {33}, {0, 5, 29}));
  list.push_back(slice_case("one_element", {7}, {0, 6, 7}));
  list.push_back(slice_case("everything", {4, 9}, {1, 0, 9}));
  list.push_back(slice_case("first_axis", {7, 5}, {0, 2, 6}));
  list.push_back(slice_case("last_axis", {3, 17}, {1, 1, 16}));
  list.push_back(slice_case("negative_last_axis", {3, 17}, {-1, 0, 9}));
  list.push_back(slice_case("negative_first_axis", {5, 17}, {-2, 3, 5}));
  list.push_back(slice_case("middle_axis", {2, 9, 3}, {1, 4, 8}));
  list.push_back(slice_case("six_axes", {2, 1, 3, 2, 4, 2}, {4, 1, 3}));
  // Steps that do and do not divide the length of the range.
  list.push_back(slice_case("step_2_of_8", {3, 9}, {1, 1, 9, 2}));
  list.push_back(slice_case("step_2_of_9", {3, 9}, {1, 0, 9, 2}));
  list.push_back(slice_case("step_3_of_10", {3, 11}, {1, 1, 11, 3}));
  list.push_back(slice_case("step_over_rows", {11, 4}, {0, 2, 11, 4}));
  list.push_back(slice_case("step_past_the_end", {3, 9}, {1, 4, 9, 100}));
  list.push_back(slice_case("nothing_at_the_front", {3, 9}, {1, 0, 0}));
  list.push_back(slice_case("nothing_at_the_end", {3, 9}, {1, 9, 9, 2}));
  list.push_back(slice_case("of_nothing", {3, 0}, {1, 0, 0}));
  list.push_back(slice_case("of_no_rows", {0, 5}, {1, 1, 4}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(slice_case("columns_" + name, {5, 19}, {1, 3, 18, 2}, lay));
    list.push_back(slice_case("rows_" + name, {5, 19}, {0, 1, 4}, lay));
  }
  list.push_back(nested_case());
  list.push_back(overlapping_case());
  list.push_back(moves::with_sharing(slice_case("is_a_view", {4, 9}, {1, 2, 7, 2}), true));
  return list;
}

std::vector<ErrorCase> errors() {
  const auto refused = [](const std::string& name, ErrorKind kind, const Range& range) {
    return ErrorCase{name, kind, {"slice", "x [3,8] bf16@cpu"}, [range] {
                       slice(Tensor::zeros({3, 8}, DType::kBF16), range.axis, range.begin,
                             range.end, range.step);
                     }};
  };
  return {
      refused("axis_too_high", ErrorKind::kShape, {2, 0, 1}),
      refused("axis_too_low", ErrorKind::kShape, {-3, 0, 1}),
      {"scalar",
       ErrorKind::kShape,
       {"x [] f32@cpu"},
       [] { slice(Tensor::zeros({}, DType::kF32), 0, 0, 1); }},
      refused("negative_begin", ErrorKind::kArgument, {1, -1, 4}),
      refused("begin_after_end", ErrorKind::kArgument, {1, 5, 4}),
      refused("end_past_the_size", ErrorKind::kArgument, {1, 0, 9}),
      refused("negative_end", ErrorKind::kArgument, {1, 0, -1}),
      refused("step_zero", ErrorKind::kArgument, {1, 0, 8, 0}),
      refused("negative_step", ErrorKind::kArgument, {1, 0, 8, -1}),
      moves::undefined_case([](const Tensor& x) { slice(x, 0, 0, 0); }),
  };
}

}  // namespace

OpSpec spec_slice() {
  return {.op = "slice", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
