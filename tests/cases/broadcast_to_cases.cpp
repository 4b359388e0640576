#include <algorithm>

#include "cases/move_cases.hpp"
#include "reference/broadcast_to_ref.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

OpCase broadcast_case(const std::string& name, const Shape& from, const Shape& to,
                      Lay lay = Lay::kDense) {
  OpCase result = moves::move_case(
      name, {moves::input(from, lay)},
      [to](std::span<const Tensor> in) { return broadcast_to(in[0], to); },
      [to](std::span<const Array> in) {
        return reference::broadcast_to_ref(in[0], to.to_vector());
      });
  // The gradient is a sum over the copies.
  result.gradient_length = static_cast<double>(std::max<std::int64_t>(to.numel(), 1));
  return result;
}

OpCase twice_case() {
  OpCase result = moves::move_case(
      "twice", {moves::input({3, 1})},
      [](std::span<const Tensor> in) {
        return broadcast_to(broadcast_to(in[0], {3, 5}), {2, 3, 5});
      },
      [](std::span<const Array> in) { return reference::broadcast_to_ref(in[0], {2, 3, 5}); });
  result.gradient_length = 10;
  result.tolerance = with_rounded_gradient(result);
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(broadcast_case("scalar", {}, {}));
  list.push_back(broadcast_case("scalar_to_vector", {}, {17}));
  list.push_back(broadcast_case("scalar_to_cube", {}, {2, 3, 5}));
  list.push_back(broadcast_case("as_it_is", {3, 7}, {3, 7}));
  list.push_back(broadcast_case("one_to_vector", {1}, {33}));
  list.push_back(broadcast_case("row", {9}, {5, 9}));
  list.push_back(broadcast_case("row_with_one", {1, 9}, {5, 9}));
  list.push_back(broadcast_case("column", {5, 1}, {5, 9}));
  list.push_back(broadcast_case("middle", {2, 1, 5}, {2, 7, 5}));
  list.push_back(broadcast_case("ends", {1, 3, 1}, {4, 3, 5}));
  list.push_back(broadcast_case("new_axes", {3, 4}, {2, 5, 3, 4}));
  list.push_back(broadcast_case("new_axes_and_ones", {3, 1}, {2, 3, 8}));
  list.push_back(broadcast_case("ones_added", {5}, {1, 1, 5}));
  list.push_back(broadcast_case("six_axes", {2, 1, 3, 1}, {2, 1, 2, 2, 3, 4}));
  list.push_back(broadcast_case("empty", {0, 3}, {2, 0, 3}));
  list.push_back(broadcast_case("one_to_none", {1, 3}, {0, 3}));
  list.push_back(broadcast_case("row_to_no_rows", {3}, {0, 3}));
  list.push_back(broadcast_case("many_copies", {3}, {1031, 3}));
  list.push_back(broadcast_case("many_copies_inside", {3, 1}, {3, 1031}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(broadcast_case("rows_" + name, {5, 19}, {3, 5, 19}, lay));
    list.push_back(broadcast_case("inside_" + name, {4, 1, 6}, {4, 5, 6}, lay));
  }
  list.push_back(twice_case());
  list.push_back(moves::with_sharing(broadcast_case("is_a_view", {5, 1}, {2, 5, 9}), true));
  return list;
}

std::vector<ErrorCase> errors() {
  const auto refused = [](const std::string& name, const Shape& from, const Shape& to,
                          const std::string& text) {
    return ErrorCase{name, ErrorKind::kShape, {"broadcast_to", text}, [from, to] {
                       broadcast_to(Tensor::zeros(from, DType::kF32), to);
                     }};
  };
  return {
      refused("other_size", {3, 4}, {3, 5}, "x [3,4] f32@cpu"),
      refused("larger_to_one", {3, 4}, {3, 1}, "x [3,4] f32@cpu"),
      refused("matched_from_the_last", {3}, {3, 4}, "x [3] f32@cpu"),
      refused("lower_rank", {1, 4}, {4}, "x [1,4] f32@cpu"),
      refused("to_scalar", {1}, {}, "x [1] f32@cpu"),
      refused("none_to_some", {0}, {2}, "x [0] f32@cpu"),
      refused("some_to_none", {2}, {0}, "x [2] f32@cpu"),
      moves::undefined_case([](const Tensor& x) { broadcast_to(x, {1}); }),
  };
}

}  // namespace

OpSpec spec_broadcast_to() {
  return {.op = "broadcast_to", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
