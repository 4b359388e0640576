#include "reference/add_rms_norm_ref.hpp"

#include <fmt/format.h>

#include "harness/op_spec.hpp"
#include "wick/ops/norm.hpp"

namespace wick::testing {

namespace {

struct Options {
  Values values = normal();
  Lay lay_x = Lay::kDense;
  Lay lay_y = Lay::kDense;
  bool f32_weight = false;
  double eps = 1e-5;
  bool gradient = true;
};

OpCase sum_case(const std::string& name, const Shape& shape, const Options& options = {}) {
  const std::int64_t D = shape[shape.rank() - 1];
  const double eps = static_cast<double>(static_cast<float>(options.eps));
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = shape, .values = options.values, .lay = options.lay_x},
                   {.name = "y", .shape = shape, .values = options.values, .lay = options.lay_y},
                   {.name = "weight", .shape = {D}, .values = normal(0.5, 1)}};
  if (options.f32_weight) result.inputs[2].fixed_dtype = {DType::kF32};
  result.run = [eps](std::span<const Tensor> in) {
    const NormedSum made = add_rms_norm(in[0], in[1], in[2], {.eps = eps});
    return std::vector{made.sum, made.normed};
  };
  result.reference = [eps](std::span<const Array> in) {
    return reference::add_rms_norm_ref(in[0], in[1], in[2], eps);
  };
  result.tolerance.length = static_cast<double>(D);
  // The sum is rounded before it is normed; backwards its gradient may be rounded before the norm's is added.
  result.tolerance.roundings = 2;
  result.gradient = options.gradient;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  // Around the widths of vectors (4, 8, 16), primes, and a real model's.
  for (const std::int64_t D : {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 97}) {
    // With one element and a small eps the gradient is a difference of nearly equal numbers.
    list.push_back(sum_case(fmt::format("3x{}", D), {3, D}, {.eps = D == 1 ? 0.5 : 1e-5}));
  }
  list.push_back(sum_case("one_dimension", {33}));
  list.push_back(sum_case("four_dimensions", {2, 3, 2, 17}));
  list.push_back(sum_case("no_rows", {0, 5}));
  list.push_back(sum_case("40x129", {40, 129}));
  list.push_back(sum_case("300x896", {300, 896}, {.gradient = false}));
  list.push_back(sum_case("2x4099", {2, 4099}));
  list.push_back(sum_case("2x20000", {2, 20000}, {.gradient = false}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    const int number = static_cast<int>(lay);
    list.push_back(sum_case(fmt::format("lay_x_{}", number), {5, 19}, {.lay_x = lay}));
    list.push_back(sum_case(fmt::format("lay_y_{}", number), {5, 19}, {.lay_y = lay}));
  }
  list.push_back(sum_case("f32_weight", {4, 21}, {.f32_weight = true}));
  list.push_back(sum_case("large", {3, 40}, {.values = normal(100)}));
  list.push_back(sum_case("eps_dominates", {3, 40}, {.values = constant(0), .gradient = false}));
  OpCase timed = sum_case("1024x1024", {1024, 1024});
  timed.benchmark_only = true;
  timed.bytes_per_element_of_dtype = 4.0 * 1024 * 1024 + 1024;
  list.push_back(std::move(timed));
  return list;
}

std::vector<ErrorCase> errors() {
  const auto zeros = [](const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  return {
      {"y_shape",
       ErrorKind::kShape,
       {"add_rms_norm: y must be [2,8] to be added to x", "y [8] f32@cpu"},
       [=] { add_rms_norm(zeros({2, 8}), zeros({8}), zeros({8})); }},
      {"y_dtype",
       ErrorKind::kDtype,
       {"x [2,8] f32@cpu", "y [2,8] bf16@cpu"},
       [=] { add_rms_norm(zeros({2, 8}), zeros({2, 8}, DType::kBF16), zeros({8})); }},
      {"weight_size",
       ErrorKind::kShape,
       {"weight must be [8]", "weight [7] f32@cpu"},
       [=] { add_rms_norm(zeros({2, 8}), zeros({2, 8}), zeros({7})); }},
      {"integers",
       ErrorKind::kDtype,
       {"x [2] i32@cpu"},
       [=] { add_rms_norm(zeros({2}, DType::kI32), zeros({2}, DType::kI32), zeros({2})); }},
      {"device",
       ErrorKind::kDevice,
       {"y [2,8] f32@null"},
       [=] { add_rms_norm(zeros({2, 8}), zeros({2, 8}, DType::kF32, kNullDevice), zeros({8})); }},
      {"eps",
       ErrorKind::kArgument,
       {"eps"},
       [=] { add_rms_norm(zeros({2, 8}), zeros({2, 8}), zeros({8}), {.eps = -1}); }},
      {"undefined",
       ErrorKind::kArgument,
       {"y"},
       [=] { add_rms_norm(zeros({2, 8}), Tensor(), zeros({8})); }},
  };
}

}  // namespace

OpSpec spec_add_rms_norm() {
  return {.op = "add_rms_norm", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
