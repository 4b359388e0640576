#include "cases/move_cases.hpp"
#include "reference/contiguous_ref.hpp"
#include "reference/permute_ref.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

OpCase contiguous_case(const std::string& name, const Shape& shape, Lay lay = Lay::kDense) {
  return moves::move_case(
      name, {moves::input(shape, lay)},
      [](std::span<const Tensor> in) { return contiguous(in[0]); },
      [](std::span<const Array> in) { return reference::contiguous_ref(in[0]); });
}

OpCase permuted_case(const std::string& name, const Shape& shape, const std::vector<int>& order) {
  return moves::move_case(
      name, {moves::input(shape)},
      [order](std::span<const Tensor> in) { return contiguous(permute(in[0], order)); },
      [order](std::span<const Array> in) { return reference::permute_ref(in[0], order); });
}

// Whether the result is dense, and whether it is the very tensor that was given.
OpCase identity_case(const std::string& name, const Shape& shape, Lay lay, bool is_itself) {
  OpCase result = contiguous_case(name, shape, lay);
  result.gradient = false;
  result.run = [](std::span<const Tensor> in) {
    const Tensor out = contiguous(in[0]);
    return std::vector{out, flag(out.is_contiguous()), flag(out.impl() == in[0].impl()),
                       flag(out.shares_storage_with(in[0]))};
  };
  result.reference = [is_itself](std::span<const Array> in) {
    return std::vector{reference::contiguous_ref(in[0]), flag_ref(), flag_ref(is_itself),
                       flag_ref(is_itself)};
  };
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(contiguous_case("scalar", {}));
  list.push_back(contiguous_case("dense", {3, 7}));
  list.push_back(contiguous_case("empty", {3, 0}));
  list.push_back(contiguous_case("empty_transposed", {0, 5}, Lay::kTransposed));
  list.push_back(contiguous_case("strided_vector", {129}, Lay::kStrided));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(contiguous_case("small_" + name, {5, 19}, lay));
    list.push_back(contiguous_case("cube_" + name, {3, 4, 17}, lay));
  }
  // Around the edges of tiles.
  for (const std::int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65}) {
    list.push_back(contiguous_case(fmt::format("transposed_{}", n), {n, n + 3}, Lay::kTransposed));
  }
  list.push_back(contiguous_case("transposed_narrow", {257, 2}, Lay::kTransposed));
  list.push_back(contiguous_case("transposed_wide", {2, 257}, Lay::kTransposed));
  list.push_back(permuted_case("heads", {2, 5, 3, 8}, {0, 2, 1, 3}));
  list.push_back(permuted_case("reversed", {2, 3, 4, 5}, {3, 2, 1, 0}));
  list.push_back(permuted_case("six_axes", {2, 3, 1, 2, 3, 2}, {4, 0, 5, 2, 1, 3}));
  list.push_back(identity_case("dense_is_itself", {4, 9}, Lay::kDense, true));
  list.push_back(identity_case("offset_is_itself", {4, 9}, Lay::kOffset, true));
  list.push_back(identity_case("one_row_is_itself", {1, 9}, Lay::kPaddedRows, true));
  list.push_back(identity_case("strided_is_not", {4, 9}, Lay::kStrided, false));
  list.push_back(identity_case("repeated_is_not", {4, 9}, Lay::kRepeated, false));
  list.push_back(moves::move_case(
      "specials", {{.name = "x", .shape = {9, 8}, .values = specials(), .lay = Lay::kTransposed}},
      [](std::span<const Tensor> in) { return contiguous(in[0]); },
      [](std::span<const Array> in) { return reference::contiguous_ref(in[0]); }));
  list.back().gradient = false;
  list.back().only_dtypes = kFloating;
  return list;
}

std::vector<OpCase> timed_cases() {
  std::vector<OpCase> list;
  list.push_back(contiguous_case("transposed_1024", {1024, 1024}, Lay::kTransposed));
  list.push_back(contiguous_case("padded_512x2048", {512, 2048}, Lay::kPaddedRows));
  list.push_back(permuted_case("heads_1x512x16x64", {1, 512, 16, 64}, {0, 2, 1, 3}));
  for (OpCase& timed : list) {
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * static_cast<double>(timed.inputs[0].shape.numel());
  }
  return list;
}

std::vector<OpCase> all_cases() {
  std::vector<OpCase> list = cases();
  for (OpCase& timed : timed_cases()) list.push_back(std::move(timed));
  return list;
}

}  // namespace

OpSpec spec_contiguous() {
  return {.op = "contiguous",
          .dtypes = kEveryDType,
          .cases = all_cases(),
          .errors = {moves::undefined_case([](const Tensor& x) { contiguous(x); })}};
}

}  // namespace wick::testing
