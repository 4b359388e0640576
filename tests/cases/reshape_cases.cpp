#include "cases/move_cases.hpp"
#include "reference/permute_ref.hpp"
#include "reference/reshape_ref.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

OpCase reshape_case(const std::string& name, const Shape& from, const Shape& to,
                    Lay lay = Lay::kDense) {
  return moves::move_case(
      name, {moves::input(from, lay)},
      [to](std::span<const Tensor> in) { return reshape(in[0], to); },
      [to](std::span<const Array> in) { return reference::reshape_ref(in[0], to.to_vector()); });
}

OpCase permuted_case(const std::string& name, const Shape& from, const std::vector<int>& order,
                     const Shape& to) {
  return moves::move_case(
      name, {moves::input(from)},
      [=](std::span<const Tensor> in) { return reshape(permute(in[0], order), to); },
      [=](std::span<const Array> in) {
        return reference::reshape_ref(reference::permute_ref(in[0], order), to.to_vector());
      });
}

// Whether the result is a view: exactly where strides can say the new shape.
std::vector<OpCase> sharing_cases() {
  std::vector<OpCase> list;
  const auto add = [&](const OpCase& op_case, bool shares) {
    list.push_back(moves::with_sharing(op_case, shares));
  };
  add(reshape_case("dense_is_a_view", {4, 6}, {3, 8}), true);
  add(reshape_case("same_shape_is_a_view", {4, 6}, {4, 6}, Lay::kStrided), true);
  add(reshape_case("padded_rows_split_in_place", {4, 6}, {2, 2, 3, 2}, Lay::kPaddedRows), true);
  add(reshape_case("padded_rows_merged_are_copied", {4, 6}, {24}, Lay::kPaddedRows), false);
  add(reshape_case("strided_split_in_place", {2, 6}, {2, 3, 2}, Lay::kStrided), true);
  add(reshape_case("strided_rows_merged_are_copied", {2, 6}, {12}, Lay::kStrided), false);
  add(reshape_case("transposed_split_in_place", {6, 4}, {2, 3, 4}, Lay::kTransposed), true);
  add(reshape_case("transposed_merged_is_copied", {6, 4}, {24}, Lay::kTransposed), false);
  add(reshape_case("repeated_gains_an_axis", {4, 6}, {4, 1, 6, 1}, Lay::kRepeated), true);
  add(reshape_case("repeated_merged_is_copied", {4, 6}, {24}, Lay::kRepeated), false);
  add(permuted_case("neighbours_stay_together", {2, 3, 4}, {2, 0, 1}, {4, 6}), true);
  add(permuted_case("heads_are_copied", {2, 5, 3, 4}, {0, 2, 1, 3}, {2, 15, 4}), false);
  return list;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list = sharing_cases();
  list.push_back(reshape_case("same", {3, 7}, {3, 7}));
  list.push_back(reshape_case("flatten", {3, 7, 2}, {42}));
  list.push_back(reshape_case("split", {30}, {2, 3, 5}));
  list.push_back(reshape_case("regroup", {4, 6}, {8, 3}));
  list.push_back(reshape_case("heads", {2, 5, 24}, {2, 5, 3, 8}));
  list.push_back(reshape_case("scalar_to_one", {}, {1}));
  list.push_back(reshape_case("scalar_to_ones", {}, {1, 1, 1}));
  list.push_back(reshape_case("ones_to_scalar", {1, 1}, {}));
  list.push_back(reshape_case("ones_added", {5, 7}, {1, 5, 1, 7, 1}));
  list.push_back(reshape_case("ones_removed", {1, 5, 1, 7}, {5, 7}));
  list.push_back(reshape_case("empty", {0, 5}, {3, 0}));
  list.push_back(reshape_case("empty_to_vector", {2, 0, 3}, {0}));
  list.push_back(reshape_case("six_axes", {2, 3, 1, 2, 5, 2}, {4, 3, 10}));
  list.push_back(reshape_case("primes", {7, 11, 13}, {143, 7}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(reshape_case("merge_" + name, {6, 17}, {102}, lay));
    list.push_back(reshape_case("split_" + name, {6, 18}, {3, 2, 9, 2}, lay));
    list.push_back(reshape_case("regroup_" + name, {6, 8}, {4, 12}, lay));
  }
  list.push_back(permuted_case("reversed", {3, 4, 5}, {2, 1, 0}, {60}));
  list.push_back(permuted_case("merge_two_of_three", {3, 4, 5}, {1, 2, 0}, {20, 3}));
  list.push_back(permuted_case("split_across_a_seam", {3, 4, 5}, {0, 2, 1}, {6, 10}));
  list.push_back(permuted_case("one_moved", {3, 1, 5}, {1, 2, 0}, {5, 3, 1}));
  return list;
}

std::vector<ErrorCase> errors() {
  const auto refused = [](const std::string& name, const Shape& from, const Shape& to,
                          const std::string& text) {
    return ErrorCase{name, ErrorKind::kShape, {"reshape", text}, [from, to] {
                       reshape(Tensor::zeros(from, DType::kF16), to);
                     }};
  };
  return {
      refused("too_few", {4, 6}, {23}, "x [4,6] f16@cpu"),
      refused("too_many", {4, 6}, {5, 5}, "x [4,6] f16@cpu"),
      refused("something_from_nothing", {0, 6}, {6}, "x [0,6] f16@cpu"),
      refused("nothing_from_something", {2, 3}, {0}, "x [2,3] f16@cpu"),
      refused("scalar", {}, {2}, "x [] f16@cpu"),
      moves::undefined_case([](const Tensor& x) { reshape(x, {1}); }),
  };
}

}  // namespace

OpSpec spec_reshape() {
  return {.op = "reshape", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
