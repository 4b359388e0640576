#include "reference/random_normal_ref.hpp"

#include <cmath>

#include "cases/random_cases.hpp"

namespace wick::testing {

namespace {

struct Options {
  Draw draw = {};
  double mean = 0;
  double std = 1;
};

OpCase normal_case(const std::string& name, DType dtype, const Shape& shape,
                   const Options& options = {}) {
  OpCase result;
  result.name = fmt::format("{}_{}", to_string(dtype), name);
  result.inputs = {base_input(options.draw)};
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{random_normal(shape, dtype, key_of(options.draw, in[0]), options.mean,
                                     options.std, in[0].device())};
  };
  result.reference = [=](std::span<const Array>) {
    return std::vector{reference::random_normal_ref(shape.to_vector(), stream_of(options.draw),
                                                    options.mean, options.std)};
  };
  // θ goes up to 2π, and its rounding error moves r cos θ by as many times r.
  result.tolerance.condition = 2;
  result.tolerance.magnitude = [=](std::span<const Array>) {
    Array magnitude(shape.to_vector());
    // 5.77 is the largest r, that of a word of 0.
    magnitude.data.assign(magnitude.data.size(), std::abs(options.mean) + 5.77 * options.std);
    return std::vector{magnitude};
  };
  result.only_dtypes = {dtype};
  result.gradient = false;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129}) {
    list.push_back(normal_case(fmt::format("{}", n), DType::kF32, {n}));
  }
  for (const auto& [name, draw] : named_draws()) {
    list.push_back(normal_case(name, DType::kF32, {67}, {draw}));
  }
  // With the default seed, element 0 of counter 344237 has a word of 0, the largest r there is, and
  // element 0 of counter 31622970 the largest word, an r of 0.
  list.push_back(normal_case("largest", DType::kF32, {9}, {{.offset = 344237}}));
  list.push_back(normal_case("smallest", DType::kF32, {9}, {{.offset = 31622970}}));
  for (const DType dtype : kFloating) {
    list.push_back(normal_case("scalar", dtype, {}));
    list.push_back(normal_case("empty", dtype, {3, 0}));
    list.push_back(normal_case("four_dimensions", dtype, {2, 3, 5, 7}));
    list.push_back(normal_case("20011", dtype, {20011}));
    list.push_back(normal_case("std_0", dtype, {5}, {{}, 0.75, 0}));
    list.push_back(normal_case("mean_and_std", dtype, {257}, {{}, -0.3, 0.02}));
    list.push_back(normal_case("large", dtype, {257}, {{}, 1e3, 1e3}));
  }
  for (const DType dtype : kFloating) {
    OpCase timed = normal_case("1024x1024", dtype, {1024, 1024});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 1024.0 * 1024;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto draw = [](DType dtype, double mean, double std) {
    return [=] { random_normal({2}, dtype, {}, mean, std); };
  };
  std::vector<ErrorCase> list = {
      {"integers", ErrorKind::kDtype, {"random_normal", "i64"}, draw(DType::kI64, 0, 1)},
      {"std_negative", ErrorKind::kArgument, {"std"}, draw(DType::kF32, 0, -1)},
      {"std_nan", ErrorKind::kArgument, {"std"}, draw(DType::kF32, 0, std::nan(""))},
      {"std_infinite", ErrorKind::kArgument, {"std"}, draw(DType::kF32, 0, HUGE_VAL)},
      {"mean_infinite", ErrorKind::kArgument, {"mean"}, draw(DType::kF32, -HUGE_VAL, 1)},
      {"mean_nan", ErrorKind::kArgument, {"mean"}, draw(DType::kF32, std::nan(""), 1)},
  };
  const auto run = [](const RandomKey& key) { random_normal({2}, DType::kF32, key); };
  for (ErrorCase& refused : key_errors("random_normal", run)) list.push_back(std::move(refused));
  return list;
}

}  // namespace

OpSpec spec_random_normal() {
  return {.op = "random_normal", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
