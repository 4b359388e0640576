#include "cases/move_cases.hpp"
#include "reference/permute_ref.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

OpCase permute_case(const std::string& name, const Shape& shape, const std::vector<int>& order,
                    Lay lay = Lay::kDense) {
  return moves::move_case(
      name, {moves::input(shape, lay)},
      [order](std::span<const Tensor> in) { return permute(in[0], order); },
      [order](std::span<const Array> in) { return reference::permute_ref(in[0], order); });
}

OpCase twice_case() {
  return moves::move_case(
      "twice", {moves::input({2, 3, 4, 5})},
      [](std::span<const Tensor> in) {
        return permute(permute(in[0], {2, 0, 3, 1}), {3, 1, 0, 2});
      },
      [](std::span<const Array> in) {
        return reference::permute_ref(reference::permute_ref(in[0], {2, 0, 3, 1}), {3, 1, 0, 2});
      });
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(permute_case("scalar", {}, {}));
  list.push_back(permute_case("vector", {17}, {0}));
  list.push_back(permute_case("matrix", {5, 17}, {1, 0}));
  list.push_back(permute_case("matrix_as_it_is", {5, 17}, {0, 1}));
  // Every order of three axes: a cycle and its inverse differ.
  list.push_back(permute_case("order_0_2_1", {2, 3, 5}, {0, 2, 1}));
  list.push_back(permute_case("order_1_0_2", {2, 3, 5}, {1, 0, 2}));
  list.push_back(permute_case("order_1_2_0", {2, 3, 5}, {1, 2, 0}));
  list.push_back(permute_case("order_2_0_1", {2, 3, 5}, {2, 0, 1}));
  list.push_back(permute_case("order_2_1_0", {2, 3, 5}, {2, 1, 0}));
  list.push_back(permute_case("negative", {2, 3, 5}, {-1, -3, -2}));
  list.push_back(permute_case("mixed_signs", {2, 3, 5}, {-1, 0, 1}));
  list.push_back(permute_case("heads", {2, 7, 3, 8}, {0, 2, 1, 3}));
  list.push_back(permute_case("six_axes", {2, 3, 1, 2, 4, 3}, {5, 2, 0, 4, 1, 3}));
  list.push_back(permute_case("ones", {1, 5, 1}, {2, 1, 0}));
  list.push_back(permute_case("empty", {2, 0, 3}, {2, 0, 1}));
  list.push_back(permute_case("tiles", {33, 2, 65}, {2, 1, 0}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(permute_case(name, {3, 4, 9}, {1, 2, 0}, lay));
  }
  list.push_back(twice_case());
  list.push_back(moves::with_sharing(permute_case("is_a_view", {2, 3, 5}, {2, 0, 1}), true));
  return list;
}

std::vector<ErrorCase> errors() {
  const auto refused = [](const std::string& name, const std::vector<int>& order) {
    return ErrorCase{name, ErrorKind::kShape, {"permute", "x [2,3,4] i32@cpu"}, [order] {
                       permute(Tensor::zeros({2, 3, 4}, DType::kI32), order);
                     }};
  };
  return {
      refused("too_short", {0, 1}),
      refused("too_long", {0, 1, 2, 0}),
      refused("nothing", {}),
      refused("twice", {0, 1, 1}),
      refused("twice_with_signs", {0, 1, -2}),
      refused("too_high", {0, 1, 3}),
      refused("too_low", {-4, 1, 2}),
      {"scalar",
       ErrorKind::kShape,
       {"x [] f32@cpu"},
       [] { permute(Tensor::zeros({}, DType::kF32), {0}); }},
      moves::undefined_case([](const Tensor& x) { permute(x, {0}); }),
  };
}

}  // namespace

OpSpec spec_permute() {
  return {.op = "permute", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
