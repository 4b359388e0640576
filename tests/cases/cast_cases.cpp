#include <limits>

#include "cases/move_cases.hpp"
#include "wick/ops/move.hpp"

namespace wick::testing {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const std::vector<DType> kSigned = {DType::kF32, DType::kF16, DType::kBF16, DType::kI32,
                                    DType::kI64};
const std::vector<DType> kIntegers = {DType::kI32, DType::kI64};

std::string name_of(DType to, const std::string& name) {
  return fmt::format("to_{}_{}", to_string(to), name);
}

// The dtype under test is the source.
OpCase cast_case(DType to, const std::string& name, const Shape& shape, Lay lay = Lay::kDense) {
  OpCase result = moves::move_case(
      name_of(to, name), {moves::input(shape, lay)},
      [to](std::span<const Tensor> in) { return cast(in[0], to); },
      [to](std::span<const Array> in) { return moves::converted_ref(in[0], to); });
  result.gradient = false;
  return result;
}

// To a floating dtype with a gradient, for which the reference must not jump.
OpCase smooth_case(DType to, const std::string& name, const Shape& shape, Lay lay = Lay::kDense) {
  OpCase result = moves::move_case(
      name_of(to, name), {moves::input(shape, lay)},
      [to](std::span<const Tensor> in) { return cast(in[0], to); },
      [](std::span<const Array> in) { return reference::cast_smooth_ref(in[0]); });
  result.inputs[0].values = normal(3);
  result.only_dtypes = kFloating;
  return result;
}

// These values, of these source dtypes, come out exactly: seen through `wide`, which holds every
// result.
OpCase exact_case(DType to, DType wide, const std::string& name, std::vector<DType> sources,
                  const std::vector<double>& values) {
  OpCase result = cast_case(to, name, {static_cast<std::int64_t>(values.size())});
  result.inputs[0].values = listed(values);
  result.only_dtypes = std::move(sources);
  result.run = [to, wide](std::span<const Tensor> in) {
    return std::vector{cast(cast(in[0], to), wide)};
  };
  return result;
}

void add_every_destination(std::vector<OpCase>& list) {
  std::size_t next = 0;
  const auto next_lay = [&next]() -> const NamedLay& {
    return odd_lays()[next++ % odd_lays().size()];
  };
  for (const DType to : kAllDTypes) {
    list.push_back(cast_case(to, "vector", {67}));
    list.push_back(cast_case(to, "scalar", {}));
    list.push_back(cast_case(to, "empty", {3, 0}));
    const auto& [a, lay_a] = next_lay();
    list.push_back(cast_case(to, lay_a, {5, 19}, a));
    const auto& [b, lay_b] = next_lay();
    list.push_back(cast_case(to, lay_b, {3, 4, 9}, b));
    next += 3;  // so that each destination sees others
    if (to == DType::kU8) continue;
    list.push_back(cast_case(to, "signed", {7, 33}));
    list.back().inputs[0].values = to == DType::kBool ? integers(-2, 3) : normal(50);
    list.back().only_dtypes = kSigned;
  }
}

void add_widths(std::vector<OpCase>& list) {
  constexpr DType kDestinations[] = {DType::kF32, DType::kF16, DType::kBF16};
  std::size_t next = 0;
  for (const std::int64_t n : {1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 1031}) {
    for (int i = 0; i < 2; ++i) {
      const DType to = kDestinations[next++ % std::size(kDestinations)];
      list.push_back(smooth_case(to, fmt::format("n{}", n), {n}));
    }
  }
  for (const DType to : kDestinations) {
    list.push_back(smooth_case(to, "smooth_strided", {4, 21}, Lay::kStrided));
    list.push_back(smooth_case(to, "smooth_transposed", {7, 12}, Lay::kTransposed));
  }
}

void add_rounding(std::vector<OpCase>& list) {
  constexpr DType kF32 = DType::kF32;
  // Ties go to the even neighbour; just beside them to the near one. Then subnormal numbers, the
  // largest ones, and what is beyond.
  list.push_back(exact_case(DType::kF16, kF32, "rounds", {kF32},
                            {1 + 0x1p-11,
                             1 + 0x3p-11,
                             1 + 0x1p-11 + 0x1p-20,
                             1 + 0x1p-11 - 0x1p-20,
                             -1 - 0x1p-11,
                             -1 - 0x3p-11,
                             2049,
                             2051,
                             4098,
                             4102,
                             0x1p-14 - 0x1p-25,
                             0x1p-14 - 0x1p-26,
                             0x1p-24,
                             0x1p-25,
                             0x3p-25,
                             0x1p-25 + 0x1p-40,
                             -0x1p-25,
                             0x1p-26,
                             65504,
                             65519,
                             65520,
                             -65520,
                             1e10,
                             -1e10,
                             0,
                             -0.0,
                             kInf,
                             -kInf,
                             kNan}));
  list.push_back(
      exact_case(DType::kBF16, kF32, "rounds", {kF32, DType::kF16},
                 {1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1p-8 + 0x1p-10, 1 + 0x1p-8 - 0x1p-10, -1 - 0x1p-8,
                  -1 - 0x3p-8, 257, 259, 1e-3, 60000, 0x1p-24, kInf, -kInf, kNan}));
  list.push_back(exact_case(DType::kBF16, kF32, "rounds_at_the_ends", {kF32},
                            {0x1.FEp127, 0x1.FEFFFEp127, 0x1.FFp127, 0x1.FFFFFEp127,
                             -0x1.FFFFFEp127, 0x1.01p-126, 0x1.03p-126, 0x1p-126}));
  list.push_back(exact_case(DType::kF32, DType::kI64, "rounds_integers", {DType::kI32, DType::kI64},
                            {16777216, 16777217, 16777219, -16777217, -16777219, 33554434, 33554438,
                             0x7FFFFF80, -0x1p31, 123456789, 1, 0}));
  list.push_back(exact_case(DType::kF32, DType::kI64, "rounds_large_integers", {DType::kI64},
                            {0x1p40 + 0x1p16, 0x1p40 + 0x3p16, -0x1p40 - 0x1p16, 0x1p62, -0x1p63,
                             0x1p52 + 1, 987654321012345.0}));
}

void add_float_to_integer(std::vector<OpCase>& list) {
  const std::vector<double> values = {
      0.5,    -0.5,      0.99609375, -0.99609375,  1.5,   -1.5,    2.75,   -2.75, 127.5,
      -128.5, 255,       255.5,      256,          300,   -1,      -0.0,   32768, 65504,
      1e6,    -1e6,      2147483520, 2147483648.0, 3e9,   -0x1p31, -3e9,   1e15,  -1e15,
      0x1p62, -0x1.8p62, 0x1p63,     -0x1p63,      1e25,  -1e25,   0x1p64, 3e38,  -3e38,
      kInf,   -kInf,     kNan,       1e-30,        -1e-30};
  for (const DType to : {DType::kI32, DType::kI64, DType::kU8, DType::kBool}) {
    OpCase result = cast_case(to, "out_of_range", {static_cast<std::int64_t>(values.size())});
    result.inputs[0].values = listed(values);
    result.only_dtypes = kFloating;
    list.push_back(result);
    // The same in rows that vectors read, and in elements that they cannot.
    result.name += "_strided";
    result.inputs[0].shape = {3, static_cast<std::int64_t>(values.size())};
    result.inputs[0].lay = Lay::kStrided;
    list.push_back(result);
  }
  list.push_back(cast_case(DType::kU8, "negative", {5, 13}));
  list.back().inputs[0].values = normal(200);
  list.back().only_dtypes = kFloating;
}

void add_values(std::vector<OpCase>& list) {
  for (const DType to : kFloating) {
    list.push_back(cast_case(to, "specials", {9, 8}));
    list.back().inputs[0].values = specials();
    list.back().only_dtypes = kFloating;
    list.push_back(cast_case(to, "integers", {5, 13}));
    list.back().inputs[0].values = integers(-2000000, 2000000);  // infinite in f16, but for a few
    list.back().only_dtypes = kIntegers;
  }
  for (const DType to : kIntegers) {
    list.push_back(cast_case(to, "integers", {5, 13}));
    list.back().inputs[0].values = integers(-0x7FFFFFFF, 0x7FFFFFFF);
    list.back().only_dtypes = kIntegers;
  }
  list.push_back(cast_case(DType::kBool, "wide_integers", {4}));
  list.back().inputs[0].values = listed({256, 0, 65536, 0x1p24});  // whose low bytes are 0
  list.back().only_dtypes = kIntegers;
  list.push_back(cast_case(DType::kBool, "i64_above_32_bits", {3}));
  list.back().inputs[0].values = listed({0x1p32, 0, -0x1p40});
  list.back().only_dtypes = {DType::kI64};
}

// What the contract says of the result besides its elements.
void add_facts(std::vector<OpCase>& list) {
  for (const DType to : kAllDTypes) {
    OpCase result = cast_case(to, "result", {5, 3}, Lay::kTransposed);
    result.run = [to](std::span<const Tensor> in) {
      const Tensor out = cast(in[0], to);
      const bool is_itself = out.impl() == in[0].impl();
      return std::vector{out, flag(out.dtype() == to), flag(is_itself == (in[0].dtype() == to))};
    };
    result.reference = [to](std::span<const Array> in) {
      return std::vector{moves::converted_ref(in[0], to), flag_ref(), flag_ref()};
    };
    list.push_back(std::move(result));
  }
  OpCase result = cast_case(DType::kI32, "carries_no_gradient", {4});
  result.only_dtypes = kFloating;
  result.run = [](std::span<const Tensor> in) {
    const Tensor x = in[0].detach().set_requires_grad(true);
    const Tensor out = cast(x, DType::kI32);
    return std::vector{out, flag(out.requires_grad()), flag(cast(x, x.dtype()).requires_grad())};
  };
  result.reference = [](std::span<const Array> in) {
    return std::vector{moves::converted_ref(in[0], DType::kI32), flag_ref(false), flag_ref()};
  };
  list.push_back(std::move(result));
}

void add_timed(std::vector<OpCase>& list) {
  const auto add = [&](DType to, std::vector<DType> sources, double elements_per_element) {
    OpCase timed = cast_case(to, "1024x1024", {1024, 1024});
    timed.inputs[0].values = normal();
    timed.only_dtypes = std::move(sources);
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = elements_per_element * 1024 * 1024;
    list.push_back(std::move(timed));
  };
  add(DType::kF32, {DType::kBF16, DType::kF16}, 3);
  add(DType::kBF16, {DType::kF32}, 1.5);
  add(DType::kF16, {DType::kF32}, 1.5);
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  add_every_destination(list);
  add_widths(list);
  add_rounding(list);
  add_float_to_integer(list);
  add_values(list);
  add_facts(list);
  add_timed(list);
  return list;
}

}  // namespace

OpSpec spec_cast() {
  return {.op = "cast",
          .dtypes = kEveryDType,
          .cases = cases(),
          .errors = {moves::undefined_case([](const Tensor& x) { cast(x, DType::kF32); })}};
}

}  // namespace wick::testing
