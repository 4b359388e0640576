#include "wick/ops/cross_entropy.hpp"

#include <fmt/format.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cases/cross_entropy_family_cases.hpp"
#include "harness/op_spec.hpp"
#include "reference/cross_entropy_ref.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick::testing {

namespace {

struct LogitOptions {
  Values values = normal(2);
  Lay lay = Lay::kDense;
  bool gradient = true;
  double lse = 8;  ///< size of log Σ exp: the gradient exp(z − lse) is off by its rounding
};

OpCase cross_entropy_case(const std::string& name, std::int64_t N, std::int64_t V,
                          const LossCaseOptions& options = {}, const LogitOptions& logits = {}) {
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "logits", .shape = {N, V}, .values = logits.values, .lay = logits.lay}};
  add_loss_inputs(result.inputs, N, V, options);
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{cross_entropy(in[0], in[1], loss_options(in, options))};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{reference::cross_entropy_ref(in[0], in[1], loss_settings(in, options))};
  };
  result.tolerance.length = static_cast<double>(V);
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    return std::vector{
        reference::cross_entropy_magnitude(in[0], in[1], loss_settings(in, options))};
  };
  result.gradient = logits.gradient;
  result.gradient_condition = 1 + logits.lse / 8;
  return result;
}

// NaN is added to the logits of every third row, whose targets are ignored: neither the loss nor
// any gradient may see it.
OpCase nan_in_ignored_rows() {
  constexpr std::int64_t N = 7;
  constexpr std::int64_t V = 19;
  OpCase result =
      cross_entropy_case("nan_in_ignored_rows", N, V, {.targets = some_ignored(V, -100)});
  const Values poison = [](Rng&, std::int64_t i, std::int64_t) {
    return i / V % 3 == 1 ? std::numeric_limits<double>::quiet_NaN() : 0;
  };
  result.inputs.push_back(
      {.name = "poison", .shape = {N, V}, .values = poison, .differentiable = false});
  result.run = [](std::span<const Tensor> in) {
    return std::vector{cross_entropy(add(in[0], in[2]), in[1])};
  };
  return result;
}

void add_extremes(std::vector<OpCase>& list) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  list.push_back(cross_entropy_case("large", 4, 33, {}, {.values = normal(100), .lse = 300}));
  list.push_back(cross_entropy_case("far_from_zero", 4, 33, {},
                                    {.values = normal(3, 1000), .gradient = false}));
  list.push_back(cross_entropy_case("equal", 3, 11, {}, {.values = constant(2)}));
  // Classes without probability, not the target.
  list.push_back(cross_entropy_case("minus_infinity", 3, 4, {.targets = listed({1, 2, 3})},
                                    {.values = listed({-kInfinity, 1, 2, 0.5, 0, -1, 3, -kInfinity,
                                                       -kInfinity, 2, -kInfinity, 1}),
                                     .gradient = false}));
  // The target without probability.
  list.push_back(cross_entropy_case("target_minus_infinity", 1, 3, {.targets = constant(0)},
                                    {.values = listed({-kInfinity, 1, 2}), .gradient = false}));
  list.push_back(cross_entropy_case("nan", 2, 3, {},
                                    {.values = listed({1, kNan, 2, 3, 4, 5}), .gradient = false}));
  list.push_back(nan_in_ignored_rows());
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  // Around the widths of vectors and of four of them, and primes.
  for (const std::int64_t V : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127, 129}) {
    list.push_back(cross_entropy_case(fmt::format("3x{}", V), 3, V));
  }
  list.push_back(cross_entropy_case("1x37", 1, 37));
  list.push_back(cross_entropy_case("no_rows", 0, 5));
  list.push_back(
      cross_entropy_case("no_rows_sum", 0, 5, {.loss = {.reduction = LossReduction::kSum}}));
  list.push_back(cross_entropy_case("131x9", 131, 9));
  // Blocks of a vocabulary are 4096 long on the CPU.
  list.push_back(cross_entropy_case("2x4095", 2, 4095, {.loss = {.label_smoothing = 0.1}}));
  list.push_back(cross_entropy_case("2x4097", 2, 4097, {.loss = {.label_smoothing = 0.1}}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    list.push_back(
        cross_entropy_case(fmt::format("lay_{}", static_cast<int>(lay)), 5, 19, {}, {.lay = lay}));
  }
  for (const auto& [name, options] : loss_variants(13)) {
    list.push_back(cross_entropy_case(name, 9, 13, options));
  }
  add_extremes(list);
  for (const auto& [N, V] : {std::pair{256, 32000}, {64, 151936}, {1024, 1024}}) {
    OpCase timed = cross_entropy_case(fmt::format("{}x{}", N, V), N, V);
    timed.benchmark_only = true;
    timed.bytes_per_element_of_dtype = 1.0 * N * V;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto logits = [](const Shape& shape, DType dtype = DType::kBF16,
                         Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  std::vector<ErrorCase> list =
      loss_errors("cross_entropy", [=](const Tensor& targets, const CrossEntropyOptions& options) {
        cross_entropy(logits({3, 5}), targets, options);
      });
  const auto targets = [](std::int64_t N) { return Tensor::zeros({N}, DType::kI64); };
  list.push_back(
      {"logits_rank_1", ErrorKind::kShape, {"cross_entropy: ", "logits [3] bf16@cpu"}, [=] {
         cross_entropy(logits({3}), targets(3));
       }});
  list.push_back({"logits_rank_3", ErrorKind::kShape, {"logits [2,3,5] bf16@cpu"}, [=] {
                    cross_entropy(logits({2, 3, 5}), targets(6));
                  }});
  list.push_back({"no_classes", ErrorKind::kShape, {"logits [3,0] bf16@cpu"}, [=] {
                    cross_entropy(logits({3, 0}), targets(3));
                  }});
  list.push_back({"logits_dtype", ErrorKind::kDtype, {"logits [3,5] i32@cpu"}, [=] {
                    cross_entropy(logits({3, 5}, DType::kI32), targets(3));
                  }});
  list.push_back(
      {"logits_device", ErrorKind::kDevice, {"logits [3,5] bf16@null", "targets [3] i64@cpu"}, [=] {
         cross_entropy(logits({3, 5}, DType::kBF16, kNullDevice), targets(3));
       }});
  list.push_back({"logits_undefined", ErrorKind::kArgument, {"logits"}, [=] {
                    cross_entropy(Tensor(), targets(3));
                  }});
  return list;
}

}  // namespace

OpSpec spec_cross_entropy() {
  return {.op = "cross_entropy", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
