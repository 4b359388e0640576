#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "cases/case_parts.hpp"

// What reductions and selections are tested with.

namespace wick::testing::reductions {

/// Sizes around the widths of vectors and blocks.
inline const std::vector<std::int64_t> kSizes = {1,  2,  3,  7,  8,  9,  15, 16,  17,
                                                 31, 32, 33, 63, 64, 65, 97, 127, 129};

/// Whole numbers, all different along each line of `axis`: no ties, in any dtype as long as its
/// size D is at most 256. Scrambled, and lines differ in their order and in their largest.
inline Values distinct_along(const Shape& shape, int axis) {
  const int along = axis < 0 ? axis + shape.rank() : axis;
  const std::int64_t D = std::max<std::int64_t>(shape[along], 1);
  std::int64_t inner = 1;
  for (int i = along + 1; i < shape.rank(); ++i) inner *= shape[i];
  std::int64_t step = D * 5 / 13 + 1;
  while (std::gcd(step, D) != 1) ++step;
  return [=](Rng&, std::int64_t i, std::int64_t) {
    const std::int64_t line = i / (inner * D) * inner + i % inner;
    const std::int64_t position = i / inner % D;
    const std::int64_t rank = (position * step + line * (D / 3 + 1)) % D;
    return static_cast<double>(rank - D / 2 + line * 7 % 17);
  };
}

/// An axis of an input, as argmax, max and top_k take it.
struct Along {
  Shape shape;
  int axis = -1;
  Lay lay = Lay::kDense;

  Input input() const {
    return {.name = "x", .shape = shape, .values = distinct_along(shape, axis), .lay = lay};
  }
};

/// Makes a case of the op on what Along says.
using MakeCase = std::function<OpCase(const std::string& name, const Along& along)>;

/// The case with values that have ties or are not finite.
inline OpCase with_values(OpCase result, const Values& values,
                          std::vector<DType> only_dtypes = {}) {
  result.inputs[0].values = values;
  result.only_dtypes = std::move(only_dtypes);
  result.gradient = false;
  return result;
}

inline void add_selection_shapes(const MakeCase& make, std::vector<OpCase>& list) {
  for (const std::int64_t D : kSizes) list.push_back(make(fmt::format("3x{}", D), {{3, D}}));
  list.push_back(make("vector", {{41}}));
  list.push_back(make("first_axis", {{13, 5}, 0}));
  list.push_back(make("first_axis_wide", {{5, 67}, 0}));
  list.push_back(make("middle_axis", {{3, 11, 4}, 1}));
  list.push_back(make("negative_axis", {{3, 11, 4}, -2}));
  list.push_back(make("six_axes", {{2, 1, 2, 7, 1, 3}, 3}));
  list.push_back(make("no_rows", {{0, 5}}));
  list.push_back(make("no_columns", {{5, 0}, 0}));
  list.push_back(make("256", {{2, 256}}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(make("last_" + name, {{5, 19}, -1, lay}));
    list.push_back(make("middle_" + name, {{3, 8, 5}, 1, lay}));
  }
}

// Ties, numbers that are not finite, and integers that a float cannot tell apart.
inline void add_selection_values(const MakeCase& make, std::vector<OpCase>& list) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto add = [&](const std::string& name, const Along& along, const Values& values,
                       const std::vector<DType>& only_dtypes = {}) {
    list.push_back(with_values(make(name, along), values, only_dtypes));
  };
  add("random", {{5, 129}}, normal(8));
  add("random_first_axis", {{129, 5}, 0}, normal(8));
  add("long", {{2, 4099}}, normal(100));
  add("long_first_axis", {{1031, 3}, 0}, normal(100));
  add("ties", {{7, 33}}, integers(0, 3));
  add("ties_first_axis", {{33, 7}, 0}, integers(0, 3));
  add("ties_of_negatives", {{5, 65}}, integers(-4, -1));
  add("all_equal", {{2, 37}}, constant(-2));
  add("zeros_of_both_signs", {{3, 17}}, listed({-0.0, 0.0, -0.0, -0.0, 0.0}), kFloating);
  add("specials", {{9, 15}}, specials(), kFloating);
  add("specials_first_axis", {{15, 9}, 0}, specials(), kFloating);
  add("minus_infinity", {{2, 21}}, constant(-kInf), kFloating);
  add("one_above_minus_infinity", {{4, 20}},
      listed({-kInf, -kInf, -kInf, -kInf, -kInf, -kInf, -3e4}), kFloating);
  add("two_nans", {{3, 40}}, listed({1, 2, kInf, -kInf, kNan, 3, 4, kNan, -1, 0, kInf}), kFloating);
  add("all_nan", {{2, 9}}, constant(kNan), kFloating);
  add("lowest_i32", {{2, 19}}, constant(-0x1p31), {DType::kI32});
  add("lowest_i64", {{2, 19}}, constant(-0x1p63), {DType::kI64});
  const double large = 0x1p24;  // as floats, it and the next are equal
  add("near_i32", {{3, 19}},
      listed({large, large + 1, large - 1, large + 3, large + 2, -large - 1}), {DType::kI32});
  const double larger = 0x1p52;
  add("near_i64", {{3, 19}},
      listed({larger, larger + 1, larger - 1, larger + 3, larger + 2, -larger - 1}), {DType::kI64});
}

/// The cases that argmax, max and top_k have in common.
inline std::vector<OpCase> selection_cases(const MakeCase& make) {
  std::vector<OpCase> list;
  add_selection_shapes(make, list);
  add_selection_values(make, list);
  return list;
}

/// Benchmarks: `rows` of a vocabulary, and the axis that is not dense.
inline void add_timed_selections(const MakeCase& make, std::vector<OpCase>& list) {
  const auto add = [&](const std::string& name, const Along& along) {
    OpCase timed = with_values(make(name, along), normal(100));
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = static_cast<double>(along.shape.numel());
    list.push_back(std::move(timed));
  };
  add("64x32000", {{64, 32000}});
  add("8x151936", {{8, 151936}});
  add("1x151936", {{1, 151936}});
  add("1024x1024_first_axis", {{1024, 1024}, 0});
}

/// Refusals of a call along an axis.
inline std::vector<ErrorCase> selection_errors(
    const std::function<void(const Tensor& x, int axis)>& op) {
  const auto call = [op](const Shape& shape, int axis, DType dtype = DType::kF32) {
    return [=] { op(Tensor::zeros(shape, dtype), axis); };
  };
  return {
      {"axis_too_high", ErrorKind::kShape, {"x [2,3] f32@cpu"}, call({2, 3}, 2)},
      {"axis_too_low", ErrorKind::kShape, {"x [2,3] f32@cpu"}, call({2, 3}, -3)},
      {"scalar", ErrorKind::kShape, {"x [] f32@cpu"}, call({}, 0)},
      {"scalar_last_axis", ErrorKind::kShape, {"x [] f32@cpu"}, call({}, -1)},
      {"bool", ErrorKind::kDtype, {"x [2,3] bool@cpu"}, call({2, 3}, 0, DType::kBool)},
      {"u8", ErrorKind::kDtype, {"x [2,3] u8@cpu"}, call({2, 3}, 0, DType::kU8)},
      {"undefined", ErrorKind::kArgument, {"x is undefined"}, [op] { op(Tensor(), 0); }},
  };
}

}  // namespace wick::testing::reductions
