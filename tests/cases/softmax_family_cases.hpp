#pragma once

// The cases of softmax and log_softmax: the same inputs, another function of them.

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "harness/op_spec.hpp"
#include "reference/softmax_ref.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/softmax.hpp"

namespace wick::testing {

/// One of the two ops.
struct SoftmaxFamilyOp {
  std::string op;
  Tensor (*run)(const Tensor& x, int axis);
  Array (*reference)(const Array& x, std::int64_t axis);
  double (*magnitude)(double result);  ///< of one element
  double (*roundings)(double row);     ///< intermediate roundings for a row of that length
  double condition_of_large;           ///< when a row spans some hundreds
};

/// What differs from case to case.
struct SoftmaxFamilyOptions {
  int axis = -1;
  Values values = normal();
  Lay lay = Lay::kDense;
  double condition = 1;
  bool gradient = true;
};

inline OpCase softmax_family_case(const SoftmaxFamilyOp& op, const std::string& name,
                                  const Shape& shape, const SoftmaxFamilyOptions& options = {}) {
  const int axis = options.axis;
  const std::int64_t row = shape[axis < 0 ? axis + shape.rank() : axis];
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = shape, .values = options.values, .lay = options.lay}};
  result.run = [=](std::span<const Tensor> in) { return std::vector{op.run(in[0], axis)}; };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{op.reference(in[0], axis)};
  };
  // Each result is as exact relative to itself as the largest is: small probabilities count too.
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    Array sizes = op.reference(in[0], axis);
    for (double& value : sizes.data) value = op.magnitude(value);
    return std::vector{sizes};
  };
  result.tolerance.length = static_cast<double>(row);
  result.tolerance.condition = options.condition;
  result.gradient = options.gradient && row <= 200;
  if (result.gradient) result.tolerance.roundings = op.roundings(static_cast<double>(row));
  return result;
}

/// Attention's use: −∞ is added where a second input says so. Row 1 is hidden throughout, and must
/// give no gradient. A softmax behind it makes every result finite, which a difference of results
/// needs.
inline OpCase softmax_family_masked(const SoftmaxFamilyOp& op) {
  constexpr std::int64_t kRow = 21;
  OpCase result = softmax_family_case(op, "masked_rows", {4, kRow});
  const Values mask = [](Rng&, std::int64_t i, std::int64_t) {
    const bool hidden = i / kRow == 1 || (i / kRow > 1 && i % 3 == 0);
    return hidden ? -std::numeric_limits<double>::infinity() : 0;
  };
  result.inputs.push_back(
      {.name = "mask", .shape = {4, kRow}, .values = mask, .differentiable = false});
  result.run = [run = op.run](std::span<const Tensor> in) {
    return std::vector{softmax(run(add(in[0], in[1]), -1))};
  };
  result.reference = [inner = op.reference](std::span<const Array> in) {
    const Array masked = reference::broadcast_apply(in[0], in[1], std::plus<>());
    return std::vector{reference::softmax_ref(inner(masked, -1), -1)};
  };
  result.tolerance.magnitude = {};
  result.tolerance.roundings = 8;  // log p, of size 5, is rounded before it becomes p again
  return result;
}

inline void add_softmax_family_shapes(const SoftmaxFamilyOp& op, std::vector<OpCase>& list) {
  const auto add_case = [&](const std::string& name, const Shape& shape,
                            const SoftmaxFamilyOptions& options = {}) {
    list.push_back(softmax_family_case(op, name, shape, options));
  };
  // Around the widths of vectors and of four of them, and primes.
  for (const std::int64_t D : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
    add_case(fmt::format("3x{}", D), {3, D});
  }
  add_case("one_dimension", {37});
  add_case("four_dimensions", {2, 3, 2, 17});
  add_case("no_rows", {0, 5});
  add_case("empty_rows", {3, 0});
  add_case("empty_inner_axis", {2, 0, 3}, {.axis = 1});
  add_case("axis_0", {9, 5}, {.axis = 0});
  add_case("axis_1_of_3", {3, 17, 4}, {.axis = 1});
  add_case("axis_minus_2", {2, 8, 9}, {.axis = -2});
  add_case("axis_0_of_one", {1, 6, 3}, {.axis = -3});
  // Blocks of a vocabulary are 2048 long on the CPU.
  add_case("3x2047", {3, 2047});
  add_case("3x2049", {3, 2049});
  add_case("2x4095", {2, 4095});
  add_case("2x4097", {2, 4097});
  add_case("257x5", {257, 5});
}

inline std::vector<OpCase> softmax_family_cases(const SoftmaxFamilyOp& op) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  std::vector<OpCase> list;
  add_softmax_family_shapes(op, list);
  const auto add_case = [&](const std::string& name, const Shape& shape,
                            const SoftmaxFamilyOptions& options) {
    list.push_back(softmax_family_case(op, name, shape, options));
  };
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    add_case(fmt::format("lay_{}", static_cast<int>(lay)), {5, 19}, {.lay = lay});
  }
  add_case("lay_transposed_axis_0", {19, 6}, {.axis = 0, .lay = Lay::kTransposed});
  add_case("large", {3, 40},
           {.values = normal(100), .condition = op.condition_of_large, .gradient = false});
  add_case("far_from_zero", {3, 33}, {.values = normal(1, 1000), .gradient = false});
  add_case("equal", {2, 12}, {.values = constant(-3)});
  add_case("specials", {13, 15}, {.values = specials(), .gradient = false});
  add_case("minus_infinity", {3, 4},
           {.values = listed({-kInfinity, 0.5, -1, 2,                          //
                              -kInfinity, -kInfinity, -kInfinity, -kInfinity,  //
                              -kInfinity, -kInfinity, 3, -kInfinity}),
            .gradient = false});
  add_case("nan_among_minus_infinity", {3, 3},
           {.values = listed({-kInfinity, kNan, -kInfinity, kNan, -kInfinity, -kInfinity, 1, 2, 3}),
            .gradient = false});
  // Rows of three blocks: usual ones, one hidden throughout, one with a single visible element, others without their first,
  // second or last block.
  constexpr std::int64_t kBlock = 2048;
  constexpr std::int64_t kBlocks = 2 * kBlock + 404;
  const Values in_blocks = [values = normal()](Rng& rng, std::int64_t i, std::int64_t n) {
    const double value = values(rng, i, n);
    const std::int64_t row = i / kBlocks;
    const std::int64_t block = i % kBlocks / kBlock;
    const bool hidden = row == 1 || (row == 3 && i % kBlocks != kBlock + 1) || row == 4 + block;
    return hidden ? -kInfinity : value;
  };
  add_case("minus_infinity_in_blocks", {8, kBlocks}, {.values = in_blocks, .gradient = false});
  list.push_back(softmax_family_masked(op));
  for (const auto& [R, D] : {std::pair{1, 1024}, {1024, 1024}, {64, 32000}, {8, 151936}}) {
    OpCase timed = softmax_family_case(op, fmt::format("{}x{}", R, D), {R, D});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * R * D;
    list.push_back(std::move(timed));
  }
  return list;
}

inline std::vector<ErrorCase> softmax_family_errors(const SoftmaxFamilyOp& op) {
  const auto run = op.run;
  const auto x = [](const Shape& shape, DType dtype = DType::kBF16, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  return {
      {"axis_too_large",
       ErrorKind::kShape,
       {op.op, "x [2,3] bf16@cpu"},
       [=] { run(x({2, 3}), 2); }},
      {"axis_too_small",
       ErrorKind::kShape,
       {op.op, "x [2,3] bf16@null"},
       [=] { run(x({2, 3}, DType::kBF16, kNullDevice), -3); }},
      {"scalar", ErrorKind::kShape, {op.op, "x [] f32@cpu"}, [=] { run(x({}, DType::kF32), -1); }},
      {"integers",
       ErrorKind::kDtype,
       {op.op, "x [4] i32@cpu"},
       [=] { run(x({4}, DType::kI32), -1); }},
      {"bool", ErrorKind::kDtype, {op.op, "x [4] bool@cpu"}, [=] { run(x({4}, DType::kBool), 0); }},
      {"undefined", ErrorKind::kArgument, {op.op, "x"}, [=] { run(Tensor(), -1); }},
  };
}

}  // namespace wick::testing
