#include "reference/random_uniform_ref.hpp"

#include <bit>
#include <cmath>

#include "cases/random_cases.hpp"
#include "harness/inputs.hpp"

namespace wick::testing {

namespace {

// The test vectors that come with the generator.
static_assert(reference::philox_ref({0, 0, 0, 0}, {0, 0}) ==
              reference::PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(reference::philox_ref({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) ==
              reference::PhiloxWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});

struct Options {
  Draw draw = {};
  double low = 0;
  double high = 1;
};

reference::Rounding rounding_of(DType dtype) {
  reference::Rounding rounding;
  rounding.nearest = [dtype](double x) { return round_to(dtype, x); };
  if (dtype == DType::kF16) rounding.precision = 11;
  if (dtype == DType::kF16) rounding.smallest = 0x1p-24;
  if (dtype == DType::kBF16) rounding.precision = 8;
  if (dtype == DType::kBF16) rounding.smallest = 0x1p-133;
  return rounding;
}

// The bits of a number that dtype holds, as an integer.
std::int32_t bits_of(DType dtype, double value) {
  const float single = static_cast<float>(value);
  if (dtype == DType::kF16) return Half(single).bits;
  if (dtype == DType::kBF16) return BFloat16(single).bits;
  return std::bit_cast<std::int32_t>(single);
}

Array bits_of(DType dtype, const Array& numbers) {
  Array bits(numbers.shape);
  for (std::int64_t i = 0; i < bits.numel(); ++i) {
    bits[i] = static_cast<double>(bits_of(dtype, numbers[i]));
  }
  return bits;
}

// The numbers and, since those are compared with a tolerance, their bits, since those are not.
std::vector<Tensor> with_bits(const Tensor& numbers) {
  const Array values = to_array(numbers);
  std::vector<std::int32_t> bits;
  for (const double value : values.data) bits.push_back(bits_of(numbers.dtype(), value));
  return {numbers, Tensor::from_values(bits, numbers.shape(), numbers.device())};
}

OpCase uniform_case(const std::string& name, DType dtype, const Shape& shape,
                    const Options& options = {}) {
  OpCase result;
  result.name = fmt::format("{}_{}", to_string(dtype), name);
  result.inputs = {base_input(options.draw)};
  result.run = [=](std::span<const Tensor> in) {
    return with_bits(random_uniform(shape, dtype, key_of(options.draw, in[0]), options.low,
                                    options.high, in[0].device()));
  };
  result.reference = [=](std::span<const Array>) {
    const Array numbers = reference::random_uniform_ref(
        shape.to_vector(), stream_of(options.draw), options.low, options.high, rounding_of(dtype));
    return std::vector{numbers, bits_of(dtype, numbers)};
  };
  result.tolerance.condition = 0;
  result.only_dtypes = {dtype};
  result.gradient = false;
  return result;
}

// The generator's test vector for key and counter 0.
OpCase known_answer() {
  OpCase result = uniform_case("known_answer", DType::kF32, {4}, {.draw = {.seed = 0}});
  result.reference = [](std::span<const Array>) {
    Array numbers({4}, {0x6627e8, 0xe169c5, 0xbc57ac, 0x9b00db});
    for (double& number : numbers.data) number *= 0x1p-24;
    return std::vector{numbers, bits_of(DType::kF32, numbers)};
  };
  return result;
}

// With the default seed, element 0 of counter 344237 is 0, element 1 of counter 11423075 is
// 1 − 2⁻²⁴, and element 2 of counter 1369 is 1 − 131 · 2⁻²⁴.
std::vector<OpCase> edge_cases() {
  const Draw lowest = {.offset = 344237};
  const Draw highest = {.offset = 11423074};
  const Draw almost_highest = {.offset = 1368};
  std::vector<OpCase> list;
  for (const DType dtype : kFloating) {
    list.push_back(uniform_case("lowest", dtype, {9}, {lowest, -0.375, 1}));
    list.push_back(uniform_case("highest", dtype, {9}, {highest}));
    list.push_back(uniform_case("rounds_to_high", dtype, {9}, {highest, 1, 2}));
    list.push_back(uniform_case("rounds_to_high_of_3", dtype, {9}, {highest, -5, 3}));
    list.push_back(uniform_case("rounds_to_negative_high", dtype, {9}, {highest, -4, -1}));
    // 0.1 lies between two numbers of the dtype; the nearest one to the result is above it.
    list.push_back(uniform_case("rounds_above_high", dtype, {9}, {highest, 0, 0.1}));
    list.push_back(uniform_case("rounds_above_high_often", dtype, {4099}, {{}, 0.09375, 0.1}));
  }
  list.push_back(uniform_case("rounds_to_zero", DType::kF16, {9}, {almost_highest, -0x1p-10, 0}));
  return list;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list = {known_answer()};
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
    list.push_back(uniform_case(fmt::format("{}", n), DType::kF32, {n}));
  }
  for (const auto& [name, draw] : named_draws()) {
    list.push_back(uniform_case(name, DType::kF32, {67}, {draw}));
  }
  // Limits that no float holds, and operations that round.
  list.push_back(uniform_case("inexact_limits", DType::kF32, {1025}, {{}, -0.1, 0.7}));
  list.push_back(uniform_case("narrow", DType::kF32, {257}, {{}, 1, 1.0001}));
  for (const DType dtype : kFloating) {
    list.push_back(uniform_case("scalar", dtype, {}));
    list.push_back(uniform_case("empty", dtype, {3, 0}));
    list.push_back(uniform_case("four_dimensions", dtype, {2, 3, 5, 7}));
    list.push_back(uniform_case("20011", dtype, {20011}));
    list.push_back(uniform_case("symmetric", dtype, {257}, {{}, -1, 1}));
    list.push_back(uniform_case("large_limits", dtype, {257}, {{}, -28672, 49152}));
  }
  for (OpCase& op_case : edge_cases()) list.push_back(std::move(op_case));
  for (const DType dtype : kFloating) {
    const Shape shape = {1024, 1024};
    OpCase timed = uniform_case("1024x1024", dtype, shape);
    timed.run = [=](std::span<const Tensor> in) {
      return std::vector{random_uniform(shape, dtype, {.seed = 1}, 0, 1, in[0].device())};
    };
    timed.reference = [=](std::span<const Array>) {
      return std::vector{
          reference::random_uniform_ref(shape.to_vector(), {.seed = 1}, 0, 1, rounding_of(dtype))};
    };
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = static_cast<double>(shape.numel());
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto draw = [](DType dtype, double low, double high) {
    return [=] { random_uniform({2}, dtype, {}, low, high); };
  };
  std::vector<ErrorCase> list = {
      {"integers", ErrorKind::kDtype, {"random_uniform", "i32"}, draw(DType::kI32, 0, 1)},
      {"bool", ErrorKind::kDtype, {"bool"}, draw(DType::kBool, 0, 1)},
      {"low_is_high", ErrorKind::kArgument, {"low", "high"}, draw(DType::kF32, 1, 1)},
      {"low_above_high", ErrorKind::kArgument, {"low", "high"}, draw(DType::kF32, 2, 1)},
      {"low_nan", ErrorKind::kArgument, {"low"}, draw(DType::kF32, std::nan(""), 1)},
      {"low_infinite", ErrorKind::kArgument, {"low"}, draw(DType::kF32, -HUGE_VAL, 1)},
      {"high_infinite", ErrorKind::kArgument, {"high"}, draw(DType::kF32, 0, HUGE_VAL)},
  };
  const auto run = [](const RandomKey& key) { random_uniform({2}, DType::kF32, key); };
  for (ErrorCase& refused : key_errors("random_uniform", run)) list.push_back(std::move(refused));
  return list;
}

}  // namespace

OpSpec spec_random_uniform() {
  return {.op = "random_uniform", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
