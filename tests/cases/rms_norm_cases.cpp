#include <fmt/format.h>

#include "harness/op_spec.hpp"
#include "reference/rms_norm_ref.hpp"
#include "wick/ops/norm.hpp"

namespace wick::testing {

namespace {

struct Options {
  Values values = normal();
  Lay lay = Lay::kDense;
  bool f32_weight = false;
  double eps = 1e-5;
  bool gradient = true;
};

OpCase rms_norm_case(const std::string& name, const Shape& shape, const Options& options = {}) {
  const std::int64_t D = shape[shape.rank() - 1];
  const double eps = static_cast<double>(static_cast<float>(options.eps));
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = shape, .values = options.values, .lay = options.lay},
                   {.name = "weight", .shape = {D}, .values = normal(0.5, 1)}};
  if (options.f32_weight) result.inputs[1].fixed_dtype = {DType::kF32};
  result.run = [eps](std::span<const Tensor> in) {
    return std::vector{rms_norm(in[0], in[1], {.eps = eps})};
  };
  result.reference = [eps](std::span<const Array> in) {
    return std::vector{reference::rms_norm_ref(in[0], in[1], eps)};
  };
  result.tolerance.length = static_cast<double>(D);
  result.gradient = options.gradient;
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  // Around the widths of vectors (4, 8, 16), primes, and a real model's.
  for (const std::int64_t D : {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 97}) {
    // With one element and a small eps the gradient is a difference of nearly equal numbers.
    list.push_back(rms_norm_case(fmt::format("3x{}", D), {3, D}, {.eps = D == 1 ? 0.5 : 1e-5}));
  }
  list.push_back(rms_norm_case("one_dimension", {33}));
  list.push_back(rms_norm_case("four_dimensions", {2, 3, 2, 17}));
  list.push_back(rms_norm_case("no_rows", {0, 5}));
  list.push_back(rms_norm_case("40x129", {40, 129}));
  list.push_back(rms_norm_case("2x4099", {2, 4099}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    list.push_back(
        rms_norm_case(fmt::format("lay_{}", static_cast<int>(lay)), {5, 19}, {.lay = lay}));
  }
  list.push_back(rms_norm_case("f32_weight", {4, 21}, {.f32_weight = true}));
  list.push_back(rms_norm_case("large", {3, 40}, {.values = normal(100)}));
  list.push_back(
      rms_norm_case("eps_dominates", {3, 40}, {.values = constant(0), .gradient = false}));
  list.push_back(rms_norm_case("specials", {9, 15}, {.values = specials(), .gradient = false}));
  for (const auto& [R, D] : {std::pair{1024, 1024}, {512, 2048}, {1, 4096}}) {
    OpCase timed = rms_norm_case(fmt::format("{}x{}", R, D), {R, D});
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 2.0 * R * D + D;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto x = [](Device device = kCpuDevice) {
    return Tensor::zeros({2, 3, 8}, DType::kBF16, device);
  };
  const auto weight = [](std::int64_t size, DType dtype = DType::kF32) {
    return Tensor::zeros({size}, dtype);
  };
  return {
      {"weight_size",
       ErrorKind::kShape,
       {"rms_norm: weight must be [8] to match the last axis of x; got weight [7] f32@cpu, x "
        "[2,3,8] bf16@cpu"},
       [=] { rms_norm(x(), weight(7)); }},
      {"scalar",
       ErrorKind::kShape,
       {"x [] f32@cpu"},
       [=] { rms_norm(Tensor::zeros({}, DType::kF32), weight(1)); }},
      {"empty_rows",
       ErrorKind::kShape,
       {"x [3,0] f32@cpu"},
       [=] { rms_norm(Tensor::zeros({3, 0}, DType::kF32), weight(0)); }},
      {"weight_dtype",
       ErrorKind::kDtype,
       {"weight [8] f16@cpu", "x [2,3,8] bf16@cpu"},
       [=] { rms_norm(x(), weight(8, DType::kF16)); }},
      {"integers",
       ErrorKind::kDtype,
       {"x [2] i32@cpu"},
       [=] { rms_norm(Tensor::zeros({2}, DType::kI32), weight(2)); }},
      {"device",
       ErrorKind::kDevice,
       {"weight [8] f32@cpu", "x [2,3,8] bf16@null"},
       [=] { rms_norm(x(kNullDevice), weight(8)); }},
      {"eps", ErrorKind::kArgument, {"eps"}, [=] { rms_norm(x(), weight(8), {.eps = -1}); }},
      {"undefined", ErrorKind::kArgument, {"weight"}, [=] { rms_norm(x(), Tensor()); }},
  };
}

}  // namespace

OpSpec spec_rms_norm() {
  return {.op = "rms_norm", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
