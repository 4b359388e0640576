#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cases/case_parts.hpp"
#include "reference/transpose_ref.hpp"
#include "wick/ops/view.hpp"

// What add, sub and mul are tested with: they differ in nothing but the arithmetic.

namespace wick::testing::binary {

/// One of the ops. The wrapping references are those of integers that overflow.
struct Binary {
  Tensor (*op)(const Tensor&, const Tensor&);
  Array (*reference)(const Array&, const Array&);
  Array (*wrapping_i32)(const Array&, const Array&);
  Array (*wrapping_i64)(const Array&, const Array&);
};

inline OpCase binary_case(const Binary& binary, const std::string& name, Input a, Input b) {
  a.name = "a";
  b.name = "b";
  OpCase result;
  result.name = name;
  const auto repeats = [](const Shape& more, const Shape& less) {
    return static_cast<double>(std::max<std::int64_t>(more.numel(), 1)) /
           static_cast<double>(std::max<std::int64_t>(less.numel(), 1));
  };
  result.gradient_length = std::max(repeats(a.shape, b.shape), repeats(b.shape, a.shape));
  result.inputs = {std::move(a), std::move(b)};
  result.run = [op = binary.op](std::span<const Tensor> in) {
    return std::vector{op(in[0], in[1])};
  };
  result.reference = [reference = binary.reference](std::span<const Array> in) {
    return std::vector{reference(in[0], in[1])};
  };
  result.tolerance = with_rounded_gradient(result);
  result.gradient_condition = 1;
  return result;
}

// Wide enough to be whole numbers that differ in an integer dtype.
inline Input operand(const Shape& shape, Lay lay = Lay::kDense) {
  return {.name = {}, .shape = shape, .values = normal(8), .lay = lay};
}

inline void add_shapes(const Binary& binary, std::vector<OpCase>& list) {
  // Around the widths of vectors, and past a block of 512.
  for (const std::int64_t n : {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 1031}) {
    list.push_back(binary_case(binary, fmt::format("n{}", n), operand({n}), operand({n})));
  }
  const auto add = [&](const std::string& name, const Shape& a, const Shape& b) {
    list.push_back(binary_case(binary, name, operand(a), operand(b)));
  };
  add("scalars", {}, {});
  add("scalar_and_vector", {}, {19});
  add("vector_and_scalar", {19}, {});
  add("empty", {0, 4}, {0, 4});
  add("one_broadcast_to_none", {1, 3}, {0, 1});
  add("row", {5, 33}, {33});
  add("column", {5, 33}, {5, 1});
  add("column_first", {7, 1}, {7, 18});
  add("outer_product", {17, 1}, {1, 9});
  add("middle", {2, 3, 4}, {2, 1, 4});
  add("ends", {1, 3, 1}, {2, 1, 5});
  add("lower_rank", {2, 3, 4, 5}, {4, 1});
  add("six_axes", {2, 1, 3, 1, 2, 3}, {1, 2, 3, 2, 1, 3});
}

inline void add_layouts(const Binary& binary, std::vector<OpCase>& list) {
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(binary_case(binary, "a_" + name, operand({6, 19}, lay), operand({6, 19})));
    list.push_back(binary_case(binary, "b_" + name, operand({6, 19}), operand({6, 19}, lay)));
  }
  const auto both = [&](const std::string& name, const Shape& shape, Lay lay) {
    list.push_back(binary_case(binary, name, operand(shape, lay), operand(shape, lay)));
  };
  both("both_transposed", {33, 65}, Lay::kTransposed);
  both("both_strided_long", {2, 1031}, Lay::kStrided);
  list.push_back(binary_case(binary, "strided_row", operand({3, 21}, Lay::kTransposed),
                             operand({21}, Lay::kStrided)));
}

inline OpCase with_own_transpose(const Binary& binary) {
  OpCase result = binary_case(binary, "with_own_transpose", operand({7, 7}), operand({7, 7}));
  result.inputs.pop_back();
  result.run = [op = binary.op](std::span<const Tensor> in) {
    const Tensor x = not_a_leaf(in[0]);
    return std::vector{op(x, transpose(x))};
  };
  result.reference = [reference = binary.reference](std::span<const Array> in) {
    return std::vector{reference(in[0], reference::transpose_ref(in[0], 0, 1))};
  };
  result.tolerance = with_rounded_gradient(result);
  return result;
}

inline OpCase without_gradient(OpCase result, std::vector<DType> only_dtypes, const Values& a,
                               const Values& b) {
  result.only_dtypes = std::move(only_dtypes);
  result.inputs[0].values = a;
  result.inputs[1].values = b;
  result.gradient = false;
  return result;
}

// Integers whose result does not fit: exact, modulo 2^32 or 2^64. Those of i64 are multiples of
// powers of 2, so that a double holds them and their results.
inline void add_wrapping(const Binary& binary, std::vector<OpCase>& list) {
  const auto add = [&](const std::string& name, DType dtype, auto reference, const Values& a,
                       const Values& b) {
    const OpCase plain = binary_case(binary, name, operand({5, 7}), operand({5, 7}));
    list.push_back(without_gradient(plain, {dtype}, a, b));
    list.back().reference = [reference](std::span<const Array> in) {
      return std::vector{reference(in[0], in[1])};
    };
    list.back().tolerance = {.condition = 0};
  };
  add("i32_wraps", DType::kI32, binary.wrapping_i32,
      listed({0x7FFFFFFF, -0x1p31, 2000000000, -7, 65536, -1999999999}),
      listed({1, -1, 2000000001, 0x7FFFFFFF, 65537, -0x1p31, 3}));
  add("i64_wraps", DType::kI64, binary.wrapping_i64,
      listed({0x1p62, -0x1p63, 5 * 0x1p40, -3 * 0x1p61, 0x1p63 - 0x1p40, -7 * 0x1p40}),
      listed({0x1p62, -0x1p63, 3 * 0x1p12, -11 * 0x1p12, 0x1p61, -5 * 0x1p60, 9 * 0x1p12}));
}

inline void add_values(const Binary& binary, std::vector<OpCase>& list) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const OpCase plain = binary_case(binary, "", operand({5, 9}), operand({5, 9}));
  const auto add = [&](const std::string& name, const std::vector<DType>& dtypes, const Values& a,
                       const Values& b) {
    list.push_back(without_gradient(plain, dtypes, a, b));
    list.back().name = name;
  };
  add("specials", kFloating, specials(), normal());
  add("infinite_pairs", kFloating, listed({kInf, kInf, -kInf, kNan, 1, 0, kInf, -0.0, 3}),
      listed({1, -kInf, -kInf, 2, kNan, kInf, 0, 0.0, kInf}));
  add("large", {DType::kF32, DType::kBF16}, normal(1e15), normal(1e15));
  add("far_apart", kFloating, normal(1000), normal(1e-3));
  list.push_back(with_own_transpose(binary));
}

inline void add_timed(const Binary& binary, std::vector<OpCase>& list) {
  const auto add = [&](const std::string& name, const Shape& a, const Shape& b) {
    OpCase timed = binary_case(binary, name, operand(a), operand(b));
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = static_cast<double>(2 * a.numel() + b.numel());
    list.push_back(std::move(timed));
  };
  add("1024x1024", {1024, 1024}, {1024, 1024});
  add("1x4096", {1, 4096}, {1, 4096});
  add("512x2048_row", {512, 2048}, {2048});
  add("512x2048_column", {512, 2048}, {512, 1});
}

inline std::vector<OpCase> cases(const Binary& binary) {
  std::vector<OpCase> list;
  add_shapes(binary, list);
  add_layouts(binary, list);
  add_values(binary, list);
  add_wrapping(binary, list);
  add_timed(binary, list);
  return list;
}

inline std::vector<ErrorCase> errors(const Binary& binary) {
  const auto call = [op = binary.op](const Shape& a, DType dtype_a, const Shape& b, DType dtype_b,
                                     Device device_b = kCpuDevice) {
    return [=] { op(Tensor::zeros(a, dtype_a), Tensor::zeros(b, dtype_b, device_b)); };
  };
  constexpr DType kF32 = DType::kF32;
  return {
      {"shapes",
       ErrorKind::kShape,
       {"a [2,3] f32@cpu", "b [2,4] f32@cpu"},
       call({2, 3}, kF32, {2, 4}, kF32)},
      {"shapes_of_other_ranks",
       ErrorKind::kShape,
       {"a [4,2,3] f32@cpu", "b [3,3] f32@cpu"},
       call({4, 2, 3}, kF32, {3, 3}, kF32)},
      {"zero_and_two",
       ErrorKind::kShape,
       {"a [0] f32@cpu", "b [2] f32@cpu"},
       call({0}, kF32, {2}, kF32)},
      {"dtypes",
       ErrorKind::kDtype,
       {"a [3] f32@cpu", "b [3] bf16@cpu"},
       call({3}, kF32, {3}, DType::kBF16)},
      {"integer_and_float",
       ErrorKind::kDtype,
       {"a [3] i32@cpu", "b [3] f32@cpu"},
       call({3}, DType::kI32, {3}, kF32)},
      {"bool",
       ErrorKind::kDtype,
       {"a [3] bool@cpu", "b [3] bool@cpu"},
       call({3}, DType::kBool, {3}, DType::kBool)},
      {"u8",
       ErrorKind::kDtype,
       {"a [3] u8@cpu", "b [3] u8@cpu"},
       call({3}, DType::kU8, {3}, DType::kU8)},
      {"devices",
       ErrorKind::kDevice,
       {"a [3] f32@cpu", "b [3] f32@null"},
       call({3}, kF32, {3}, kF32, kNullDevice)},
      {"undefined_a",
       ErrorKind::kArgument,
       {"a is undefined"},
       [op = binary.op] { op(Tensor(), Tensor::zeros({3}, kF32)); }},
      {"undefined_b",
       ErrorKind::kArgument,
       {"b is undefined"},
       [op = binary.op] { op(Tensor::zeros({3}, kF32), Tensor()); }},
  };
}

}  // namespace wick::testing::binary
