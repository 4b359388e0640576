#include "cases/move_cases.hpp"
#include "reference/concatenate_ref.hpp"
#include "wick/ops/move.hpp"

namespace wick::testing {

namespace {

OpCase concatenate_case(const std::string& name, std::vector<Input> inputs, int axis) {
  return moves::move_case(
      name, std::move(inputs),
      [axis](std::span<const Tensor> in) {
        return concatenate(std::vector<Tensor>(in.begin(), in.end()), axis);
      },
      [axis](std::span<const Array> in) { return reference::concatenate_ref(in, axis); });
}

OpCase concatenate_case(const std::string& name, const std::vector<Shape>& shapes, int axis) {
  std::vector<Input> inputs;
  for (const Shape& shape : shapes) {
    inputs.push_back(moves::input(shape));
    inputs.back().name = fmt::format("x{}", inputs.size() - 1);
  }
  return concatenate_case(name, std::move(inputs), axis);
}

// One tensor twice: its gradient adds up.
OpCase same_twice_case() {
  OpCase result = moves::move_case(
      "same_twice", {moves::input({3, 7}), moves::input({2, 7})},
      [](std::span<const Tensor> in) {
        const Tensor x = not_a_leaf(in[0]);
        return concatenate({x, in[1], x}, 0);
      },
      [](std::span<const Array> in) {
        return reference::concatenate_ref(std::vector{in[0], in[1], in[0]}, 0);
      });
  result.tolerance = with_rounded_gradient(result);
  return result;
}

void add_shapes(std::vector<OpCase>& list) {
  const auto add = [&](const std::string& name, const std::vector<Shape>& shapes, int axis) {
    list.push_back(concatenate_case(name, shapes, axis));
  };
  add("one_tensor", {{3, 7}}, 0);
  add("vectors", {{5}, {9}}, 0);
  add("single_elements", {{1}, {1}, {1}}, 0);
  add("rows", {{3, 7}, {2, 7}}, 0);
  add("columns", {{3, 7}, {3, 10}}, 1);
  add("negative_last_axis", {{3, 7}, {3, 2}}, -1);
  add("negative_first_axis", {{3, 7}, {4, 7}}, -2);
  add("middle", {{2, 3, 5}, {2, 4, 5}, {2, 1, 5}}, 1);
  add("narrow_columns", {{17, 1}, {17, 2}, {17, 3}}, 1);
  add("four_axes", {{2, 3, 1, 4}, {2, 3, 5, 4}}, 2);
  add("six_axes", {{2, 1, 2, 3, 1, 2}, {2, 1, 2, 2, 1, 2}}, 3);
  add("eight_tensors", {{2, 1}, {2, 2}, {2, 3}, {2, 4}, {2, 5}, {2, 6}, {2, 7}, {2, 8}}, 1);
  add("one_of_them_empty", {{3, 4}, {3, 0}, {3, 2}}, 1);
  add("first_empty", {{0, 4}, {3, 4}}, 0);
  add("all_empty", {{3, 0}, {3, 0}}, 1);
  add("empty_across", {{0, 4}, {0, 3}}, 1);
  // Around the widths of vectors.
  add("columns_8_8", {{5, 8}, {5, 8}}, 1);
  add("columns_15_17", {{5, 15}, {5, 17}}, 1);
  add("columns_31_33", {{5, 31}, {5, 33}}, 1);
  add("columns_64_127", {{5, 64}, {5, 127}}, 1);
  add("rows_64_65", {{64, 3}, {65, 3}}, 0);
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  add_shapes(list);
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(
        concatenate_case("rows_" + name, {moves::input({4, 9}, lay), moves::input({4, 9})}, 0));
    list.push_back(
        concatenate_case("columns_" + name, {moves::input({4, 9}), moves::input({4, 6}, lay)}, 1));
  }
  list.push_back(same_twice_case());
  list.push_back(concatenate_case("specials",
                                  {{.name = "x0", .shape = {3, 16}, .values = specials()},
                                   {.name = "x1", .shape = {3, 21}, .values = specials()}},
                                  1));
  list.back().gradient = false;
  list.back().only_dtypes = kFloating;
  // A cache of keys that grows by one position, and heads that are put together.
  for (OpCase& timed :
       std::vector{concatenate_case("cache_1x512x8x64", {{1, 511, 8, 64}, {1, 1, 8, 64}}, 1),
                   concatenate_case("columns_512x1024", {{512, 1024}, {512, 512}, {512, 512}}, 1),
                   concatenate_case("rows_512x2048", {{256, 2048}, {256, 2048}}, 0)}) {
    timed.benchmark_only = true;
    for (const Input& input : timed.inputs) {
      timed.bytes_per_element_of_dtype += 2.0 * static_cast<double>(input.shape.numel());
    }
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  constexpr DType kF32 = DType::kF32;
  const auto call = [](const Shape& a, const Shape& b, int axis, DType dtype_b = DType::kF32,
                       Device device_b = kCpuDevice) {
    return [=] {
      concatenate({Tensor::zeros(a, DType::kF32), Tensor::zeros(b, dtype_b, device_b)}, axis);
    };
  };
  return {
      {"empty_list", ErrorKind::kArgument, {"concatenate"}, [] { concatenate({}, 0); }},
      {"scalars", ErrorKind::kShape, {" [] f32@cpu"}, call({}, {}, 0)},
      {"axis_too_high",
       ErrorKind::kShape,
       {" [2,3] f32@cpu", " [2,4] f32@cpu"},
       call({2, 3}, {2, 4}, 2)},
      {"axis_too_low",
       ErrorKind::kShape,
       {" [2,3] f32@cpu", " [2,4] f32@cpu"},
       call({2, 3}, {2, 4}, -3)},
      {"ranks", ErrorKind::kShape, {" [2,3] f32@cpu", " [3] f32@cpu"}, call({2, 3}, {3}, 0)},
      {"higher_rank_later",
       ErrorKind::kShape,
       {" [2,3] f32@cpu", " [1,2,3] f32@cpu"},
       call({2, 3}, {1, 2, 3}, 0)},
      {"other_size",
       ErrorKind::kShape,
       {" [2,3] f32@cpu", " [2,4] f32@cpu"},
       call({2, 3}, {2, 4}, 0)},
      {"ones_do_not_broadcast",
       ErrorKind::kShape,
       {" [2,3] f32@cpu", " [1,3] f32@cpu"},
       call({2, 3}, {1, 3}, 1)},
      {"dtypes",
       ErrorKind::kDtype,
       {" [2,3] f32@cpu", " [2,3] f16@cpu"},
       call({2, 3}, {2, 3}, 0, DType::kF16)},
      {"devices",
       ErrorKind::kDevice,
       {" [2,3] f32@cpu", " [2,3] f32@null"},
       call({2, 3}, {2, 3}, 0, kF32, kNullDevice)},
      {"undefined",
       ErrorKind::kArgument,
       {"1", "undefined"},
       [] { concatenate({Tensor::zeros({2}, kF32), Tensor()}, 0); }},
  };
}

}  // namespace

OpSpec spec_concatenate() {
  return {.op = "concatenate", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
