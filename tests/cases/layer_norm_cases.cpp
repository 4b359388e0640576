#include <cmath>

#include "cases/layout_cases.hpp"
#include "reference/layer_norm_ref.hpp"
#include "wick/ops/norm.hpp"

namespace wick::testing {

namespace {

struct Options {
  Values values = normal();
  Lay lay = Lay::kDense;
  Lay lay_weight = Lay::kDense;
  Lay lay_bias = Lay::kDense;
  bool has_bias = true;
  bool f32_weight = false;
  double eps = 1e-5;
  double condition = 1;
  bool gradient = true;
};

OpCase layer_norm_case(const std::string& name, const Shape& shape, const Options& options = {}) {
  const std::int64_t D = shape[shape.rank() - 1];
  const double eps = as_f32(options.eps);
  OpCase result;
  result.name = name;
  result.inputs = {
      {.name = "x", .shape = shape, .values = options.values, .lay = options.lay},
      {.name = "weight", .shape = {D}, .values = normal(0.5, 1), .lay = options.lay_weight}};
  if (options.has_bias) {
    result.inputs.push_back({.name = "bias", .shape = {D}, .lay = options.lay_bias});
  }
  if (options.f32_weight) {
    for (std::size_t i = 1; i < result.inputs.size(); ++i) {
      result.inputs[i].fixed_dtype = {DType::kF32};
    }
  }
  result.run = [eps](std::span<const Tensor> in) {
    const Tensor bias = in.size() > 2 ? in[2] : Tensor();
    return std::vector{layer_norm(in[0], in[1], bias, {.eps = eps})};
  };
  result.reference = [eps](std::span<const Array> in) {
    const Array* bias = in.size() > 2 ? &in[2] : nullptr;
    return std::vector{reference::layer_norm_ref(in[0], in[1], bias, eps)};
  };
  result.tolerance.length = static_cast<double>(D);
  result.tolerance.condition = options.condition;
  result.gradient = options.gradient;
  // The gradient sums over rows for weight and bias, over columns for x, where it takes two
  // projections away.
  result.gradient_length = static_cast<double>(std::max<std::int64_t>(D, shape.numel() / D));
  result.gradient_condition = D < 8 ? 8 * options.condition : options.condition;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  // Around the widths of vectors (4, 8, 16), primes, and a real model's.
  for (const std::int64_t D : {4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 97, 128}) {
    list.push_back(layer_norm_case(fmt::format("3x{}", D), {3, D}));
  }
  // One element is its own mean, and two are always one deviation away from theirs: nothing flows
  // back to x.
  for (const std::int64_t D : {1, 2, 3}) {
    list.push_back(layer_norm_case(fmt::format("7x{}", D), {7, D}, {.gradient = D > 2}));
  }
  list.push_back(layer_norm_case("one_dimension", {33}));
  list.push_back(layer_norm_case("four_dimensions", {2, 3, 2, 17}));
  list.push_back(layer_norm_case("no_rows", {0, 5}));
  list.push_back(layer_norm_case("40x129", {40, 129}));
  list.push_back(layer_norm_case("2x4099", {2, 4099}));
  list.push_back(layer_norm_case("no_bias", {4, 21}, {.has_bias = false}));
  list.push_back(layer_norm_case("f32_weight", {4, 21}, {.f32_weight = true}));
  list.push_back(
      layer_norm_case("f32_weight_no_bias", {4, 21}, {.has_bias = false, .f32_weight = true}));
  for (const auto& [lay, name] : odd_lays()) {
    list.push_back(layer_norm_case(name, {5, 19}, {.lay = lay}));
    if (lay == Lay::kTransposed) continue;  // weight and bias have one axis
    list.push_back(layer_norm_case("weight_" + name, {5, 19}, {.lay_weight = lay}));
    list.push_back(layer_norm_case("bias_" + name, {5, 19}, {.lay_bias = lay}));
  }
  list.push_back(layer_norm_case("large", {3, 40}, {.values = normal(100)}));
  // The mean is 64 deviations: subtracting it amplifies its rounding as much.
  list.push_back(
      layer_norm_case("large_mean", {3, 40}, {.values = normal(0.5, 32), .condition = 64}));
  list.push_back(
      layer_norm_case("eps_dominates", {3, 40}, {.values = constant(0.5), .gradient = false}));
  list.push_back(layer_norm_case("large_eps", {3, 40}, {.eps = 0.7}));
  list.push_back(layer_norm_case("eps_0", {3, 40}, {.eps = 0}));
  list.push_back(layer_norm_case("specials", {9, 15}, {.values = specials(), .gradient = false}));
  for (const auto& [R, D] : {std::pair{1024, 1024}, {512, 2048}, {1, 4096}}) {
    OpCase timed = layer_norm_case(fmt::format("{}x{}", R, D), {R, D});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * R * D + 2 * D;
    list.push_back(std::move(timed));
  }
  return list;
}

Tensor x_of(const Shape& shape = {2, 3, 8}, DType dtype = DType::kBF16,
            Device device = kCpuDevice) {
  return Tensor::zeros(shape, dtype, device);
}

Tensor vector_of(std::int64_t size, DType dtype = DType::kF32, Device device = kCpuDevice) {
  return Tensor::zeros({size}, dtype, device);
}

std::vector<ErrorCase> errors() {
  return {
      {"weight_size",
       ErrorKind::kShape,
       {"layer_norm", "weight [7] f32@cpu", "bias [8] f32@cpu", "x [2,3,8] bf16@cpu"},
       [] { layer_norm(x_of(), vector_of(7), vector_of(8)); }},
      {"weight_rank",
       ErrorKind::kShape,
       {"weight [1,8] f32@cpu"},
       [] { layer_norm(x_of(), Tensor::zeros({1, 8}, DType::kF32), Tensor()); }},
      {"bias_size",
       ErrorKind::kShape,
       {"bias [1] f32@cpu", "x [2,3,8] bf16@cpu"},
       [] { layer_norm(x_of(), vector_of(8), vector_of(1)); }},
      {"scalar",
       ErrorKind::kShape,
       {"x [] f32@cpu"},
       [] { layer_norm(x_of({}, DType::kF32), vector_of(1), Tensor()); }},
      {"empty_rows",
       ErrorKind::kShape,
       {"x [3,0] f32@cpu"},
       [] { layer_norm(x_of({3, 0}, DType::kF32), vector_of(0), Tensor()); }},
      {"weight_dtype",
       ErrorKind::kDtype,
       {"weight [8] f16@cpu", "x [2,3,8] bf16@cpu"},
       [] { layer_norm(x_of(), vector_of(8, DType::kF16), Tensor()); }},
      {"bias_dtype",
       ErrorKind::kDtype,
       {"weight [8] f32@cpu", "bias [8] bf16@cpu"},
       [] { layer_norm(x_of(), vector_of(8), vector_of(8, DType::kBF16)); }},
      {"integers",
       ErrorKind::kDtype,
       {"x [2] i32@cpu"},
       [] { layer_norm(x_of({2}, DType::kI32), vector_of(2), Tensor()); }},
      {"device",
       ErrorKind::kDevice,
       {"weight [8] f32@cpu", "x [2,3,8] bf16@null"},
       [] { layer_norm(x_of({2, 3, 8}, DType::kBF16, kNullDevice), vector_of(8), Tensor()); }},
      {"bias_device",
       ErrorKind::kDevice,
       {"weight [8] f32@cpu", "bias [8] f32@null"},
       [] { layer_norm(x_of(), vector_of(8), vector_of(8, DType::kF32, kNullDevice)); }},
      {"eps_negative",
       ErrorKind::kArgument,
       {"eps"},
       [] { layer_norm(x_of(), vector_of(8), Tensor(), {.eps = -1}); }},
      {"eps_infinite",
       ErrorKind::kArgument,
       {"eps"},
       [] { layer_norm(x_of(), vector_of(8), Tensor(), {.eps = HUGE_VAL}); }},
      {"undefined_x",
       ErrorKind::kArgument,
       {"x"},
       [] { layer_norm(Tensor(), vector_of(8), Tensor()); }},
      {"undefined_weight",
       ErrorKind::kArgument,
       {"weight"},
       [] { layer_norm(x_of(), Tensor(), vector_of(8)); }},
  };
}

}  // namespace

OpSpec spec_layer_norm() {
  return {.op = "layer_norm", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
