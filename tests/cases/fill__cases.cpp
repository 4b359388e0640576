#include <limits>

#include "cases/move_cases.hpp"
#include "reference/cast_ref.hpp"
#include "reference/fill__ref.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A value that every dtype holds as it is.
OpCase fill_case(const std::string& name, const Shape& shape, Lay lay = Lay::kDense,
                 double value = 1) {
  OpCase result;
  result.name = name;
  result.inputs = {moves::input(shape, lay)};
  result.run = [value](std::span<const Tensor> in) {
    fill_(in[0], value);
    return std::vector{in[0]};
  };
  result.reference = [value](std::span<const Array> in) {
    return std::vector{reference::fill_ref(in[0], value)};
  };
  result.tolerance.condition = 0;
  result.gradient = false;
  return result;
}

// A value that `dtype` does not hold.
OpCase converting_case(DType dtype, const std::string& name, double value) {
  OpCase result = fill_case(fmt::format("{}_{}", to_string(dtype), name), {3, 5});
  result.only_dtypes = {dtype};
  result.run = [value](std::span<const Tensor> in) {
    fill_(in[0], value);
    return std::vector{in[0]};
  };
  result.reference = [value, dtype](std::span<const Array> in) {
    return std::vector{moves::converted_ref(reference::fill_ref(in[0], value), dtype)};
  };
  return result;
}

// fill_ on a view of x; `is_filled` says which elements of the matrix that is.
OpCase part_case(const std::string& name, const Shape& shape,
                 const std::function<Tensor(const Tensor&)>& part,
                 const std::function<bool(std::int64_t row, std::int64_t column)>& is_filled) {
  OpCase result = fill_case(name, shape);
  result.run = [part](std::span<const Tensor> in) {
    fill_(part(in[0]), 1);
    return std::vector{in[0]};
  };
  result.reference = [is_filled](std::span<const Array> in) {
    Array x = in[0];
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      if (is_filled(i / x.dim(1), i % x.dim(1))) x[i] = 1;
    }
    return std::vector{x};
  };
  return result;
}

void add_parts(std::vector<OpCase>& list) {
  list.push_back(part_case(
      "columns", {5, 19}, [](const Tensor& x) { return slice(x, 1, 3, 18); },
      [](std::int64_t, std::int64_t column) { return column >= 3 && column < 18; }));
  list.push_back(part_case(
      "every_second_column", {5, 19}, [](const Tensor& x) { return slice(x, 1, 1, 19, 2); },
      [](std::int64_t, std::int64_t column) { return column % 2 == 1; }));
  list.push_back(part_case(
      "one_column", {17, 3}, [](const Tensor& x) { return slice(x, 1, 1, 2); },
      [](std::int64_t, std::int64_t column) { return column == 1; }));
  list.push_back(part_case(
      "rows", {9, 7}, [](const Tensor& x) { return slice(x, 0, 2, 9, 3); },
      [](std::int64_t row, std::int64_t) { return row % 3 == 2; }));
  list.push_back(part_case(
      "transposed_block", {8, 9},
      [](const Tensor& x) { return transpose(slice(slice(x, 0, 1, 6), 1, 2, 9)); },
      [](std::int64_t row, std::int64_t column) { return row >= 1 && row < 6 && column >= 2; }));
  list.push_back(part_case(
      "nothing", {4, 5}, [](const Tensor& x) { return slice(x, 1, 2, 2); },
      [](std::int64_t, std::int64_t) { return false; }));
  // A size of 1 repeats nothing, whatever its stride.
  list.push_back(part_case(
      "one_row_as_a_broadcast", {3, 5},
      [](const Tensor& x) { return broadcast_to(slice(x, 0, 1, 2), {1, 1, 5}); },
      [](std::int64_t row, std::int64_t) { return row == 1; }));
}

void add_conversions(std::vector<OpCase>& list) {
  const auto add = [&](DType dtype, const std::string& name, double value) {
    list.push_back(converting_case(dtype, name, value));
  };
  for (const DType dtype : kAllDTypes) {
    add(dtype, "fraction", 1.7);
    add(dtype, "zero", 0);
    add(dtype, "nan", kNan);
    add(dtype, "infinity", kInf);
    add(dtype, "minus_infinity", -kInf);
  }
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kI64}) {
    add(dtype, "negative", -2.9);
    add(dtype, "huge", 1e300);
  }
  add(DType::kF32, "one_third", 1.0 / 3);
  add(DType::kF16, "beyond_largest", 65520);
  add(DType::kF16, "largest", 65519);
  add(DType::kBF16, "tie", 1 + 0x3p-8);
  add(DType::kI32, "above", 3e9);
  add(DType::kI32, "below", -3e9);
  add(DType::kI32, "large", 16777217);
  add(DType::kI64, "large", 0x1p52 + 1);
  add(DType::kI64, "large_negative", -0x1p53 + 1);
  add(DType::kU8, "above", 300);
  add(DType::kU8, "below", -3);
  add(DType::kU8, "largest", 255.9);
  add(DType::kBool, "small", 0.25);
  add(DType::kBool, "256", 256);
  add(DType::kBool, "minus_zero", -0.0);
}

OpCase version_case() {
  OpCase result = fill_case("version_goes_up", {3, 5}, Lay::kStrided);
  result.run = [](std::span<const Tensor> in) {
    const std::uint64_t before = in[0].version();
    fill_(in[0], 1);
    return std::vector{in[0], flag(in[0].version() > before)};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::fill_ref(in[0], 1), flag_ref()};
  };
  return result;
}

// While nothing is recorded even a parameter may be overwritten.
OpCase unrecorded_case() {
  OpCase result = fill_case("parameter_without_tape", {3, 5});
  result.only_dtypes = kFloating;
  result.run = [](std::span<const Tensor> in) {
    const Tensor parameter = in[0].detach().set_requires_grad(true);
    const NoGradGuard no_grad;
    fill_(parameter, 1);
    return std::vector{parameter.detach(), flag(parameter.is_leaf() && parameter.requires_grad())};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{reference::fill_ref(in[0], 1), flag_ref()};
  };
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(fill_case("scalar", {}));
  list.push_back(fill_case("empty", {0, 4}));
  list.push_back(fill_case("four_axes", {2, 3, 4, 5}));
  for (const std::int64_t n : {1, 7, 8, 9, 31, 33, 64, 127, 1031}) {
    list.push_back(fill_case(fmt::format("n{}", n), {n}));
  }
  for (const auto& [lay, name] : writable_lays()) list.push_back(fill_case(name, {5, 19}, lay));
  add_parts(list);
  add_conversions(list);
  list.push_back(version_case());
  list.push_back(unrecorded_case());
  for (const Lay lay : {Lay::kDense, Lay::kPaddedRows}) {
    OpCase timed = fill_case(lay == Lay::kDense ? "1024x1024" : "padded_512x2048",
                             lay == Lay::kDense ? Shape{1024, 1024} : Shape{512, 2048}, lay);
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = static_cast<double>(timed.inputs[0].shape.numel());
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  constexpr DType kF32 = DType::kF32;
  return {
      moves::undefined_case([](const Tensor& x) { fill_(x, 1); }),
      {"requires_gradient",
       ErrorKind::kArgument,
       {"x [2,3] f16@cpu"},
       [] { fill_(tracked({2, 3}, DType::kF16), 1); }},
      {"was_recorded",
       ErrorKind::kArgument,
       {"x [3,2] f32@cpu"},
       [] { fill_(transpose(tracked({2, 3})), 1); }},
      {"repeats",
       ErrorKind::kArgument,
       {"x [2,3] f32@cpu"},
       [] { fill_(broadcast_to(Tensor::zeros({3}, kF32), {2, 3}), 1); }},
      {"repeats_inside",
       ErrorKind::kArgument,
       {"x [2,3] i64@cpu"},
       [] { fill_(broadcast_to(Tensor::zeros({2, 1}, DType::kI64), {2, 3}), 1); }},
      {"repeats_in_a_view",
       ErrorKind::kArgument,
       {"x [2,1] f32@cpu"},
       [] { fill_(slice(broadcast_to(Tensor::zeros({3}, kF32), {2, 3}), 1, 0, 1), 1); }},
  };
}

}  // namespace

OpSpec spec_fill_() {
  return {.op = "fill_", .dtypes = kEveryDType, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
