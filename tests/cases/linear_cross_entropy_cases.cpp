#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "cases/cross_entropy_family_cases.hpp"
#include "harness/op_spec.hpp"
#include "reference/linear_cross_entropy_ref.hpp"
#include "wick/ops/cross_entropy.hpp"

namespace wick::testing {

namespace {

struct Size {
  std::int64_t N = 0;
  std::int64_t D = 0;
  std::int64_t V = 0;
};

struct LinearOptions {
  std::int64_t chunk_rows = 0;
  LossCaseOptions loss = {};
  bool frozen = false;
  Lay x_lay = Lay::kDense;
  Lay weight_lay = Lay::kDense;
  std::vector<DType> weight_dtype = {};
  Values x_values = normal();
};

OpCase linear_case(const std::string& name, const Size& size, const LinearOptions& options = {}) {
  const auto& [N, D, V] = size;
  const std::int64_t chunk_rows = options.chunk_rows;
  const LossCaseOptions loss = options.loss;
  OpCase result;
  result.name = name;
  result.inputs = {{.name = "x", .shape = {N, D}, .values = options.x_values, .lay = options.x_lay},
                   {.name = "weight",
                    .shape = {V, D},
                    .values = normal(0.5),
                    .lay = options.weight_lay,
                    .fixed_dtype = options.weight_dtype,
                    .differentiable = !options.frozen}};
  if (!options.weight_dtype.empty()) result.only_dtypes = {DType::kF32};
  add_loss_inputs(result.inputs, N, V, loss);
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{
        linear_cross_entropy(in[0], in[1], in[2], loss_options(in, loss), chunk_rows)};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{
        reference::linear_cross_entropy_ref(in[0], in[1], in[2], loss_settings(in, loss))};
  };
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    return std::vector{
        reference::linear_cross_entropy_magnitude(in[0], in[1], in[2], loss_settings(in, loss))};
  };
  result.tolerance.length = static_cast<double>(std::max(D, V));
  // A gradient sums, over rows (weight) or classes (x), probabilities that move with their logit: a
  // sum of D products of size 0.3, whose roundings add up to about 0.3 D u.
  result.gradient_length = static_cast<double>(std::max({N, D, V}));
  result.gradient_condition = 1 + 0.05 * static_cast<double>(D);
  result.gradient = N * D * V <= 100'000;
  return result;
}

void add_sizes(std::vector<OpCase>& list) {
  for (const Size& size : {Size{1, 1, 1},
                           {1, 1, 2},
                           {2, 3, 5},
                           {5, 7, 11},
                           {4, 8, 16},
                           {3, 15, 17},
                           {8, 16, 31},
                           {17, 9, 33},
                           {16, 32, 64},
                           {15, 31, 63},
                           {33, 17, 65},
                           {3, 64, 129},
                           {67, 5, 127}}) {
    list.push_back(linear_case(fmt::format("{}x{}x{}", size.N, size.D, size.V), size));
  }
  list.push_back(linear_case("7x130x257", {7, 130, 257}));
  list.push_back(linear_case("no_rows", {0, 6, 5}));
  list.push_back(linear_case("no_rows_chunked", {0, 6, 5}, {.chunk_rows = 2}));
  list.push_back(linear_case("no_features", {3, 0, 5}));
}

void add_chunks(std::vector<OpCase>& list) {
  const Size size = {10, 12, 23};
  const auto V = size.V;
  for (const std::int64_t chunk_rows : {1, 3, 5, 9, 10, 11, 1000}) {
    list.push_back(
        linear_case(fmt::format("chunk_{}", chunk_rows), size, {.chunk_rows = chunk_rows}));
  }
  // The denominators and weights of all rows, met chunk by chunk; some chunks are ignored
  // throughout.
  const LossCaseOptions everything = {
      .loss = {.label_smoothing = 0.15}, .weighted = true, .targets = some_ignored(V, -100, 2)};
  for (const std::int64_t chunk_rows : {0, 1, 3, 64}) {
    list.push_back(linear_case(fmt::format("everything_chunk_{}", chunk_rows), size,
                               {.chunk_rows = chunk_rows, .loss = everything}));
  }
  list.push_back(linear_case("frozen", size, {.frozen = true}));
  list.push_back(linear_case("frozen_chunk_3", size, {.chunk_rows = 3, .frozen = true}));
  list.push_back(linear_case(
      "frozen_chunk_1_sum", size,
      {.chunk_rows = 1, .loss = {.loss = {.reduction = LossReduction::kSum}}, .frozen = true}));
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  add_sizes(list);
  add_chunks(list);
  for (const auto& [name, options] : loss_variants(13)) {
    list.push_back(linear_case(name, {9, 6, 13}, {.chunk_rows = 4, .loss = options}));
  }
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kRepeated,
                        Lay::kOffset, Lay::kMisaligned}) {
    const int number = static_cast<int>(lay);
    list.push_back(
        linear_case(fmt::format("x_lay_{}", number), {5, 9, 19}, {.chunk_rows = 2, .x_lay = lay}));
    if (lay == Lay::kRepeated) continue;  // equal classes: nothing to learn
    list.push_back(linear_case(fmt::format("weight_lay_{}", number), {5, 9, 19},
                               {.chunk_rows = 2, .weight_lay = lay}));
  }
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const std::string name = fmt::format("f32_x_{}_weight", to_string(dtype));
    list.push_back(linear_case(name, {6, 11, 29}, {.chunk_rows = 4, .weight_dtype = {dtype}}));
    list.push_back(linear_case(name + "_frozen", {6, 11, 29},
                               {.chunk_rows = 4, .frozen = true, .weight_dtype = {dtype}}));
  }
  // Rows longer than a multiprocessor of a GPU keeps in registers; odd and even.
  for (const std::int64_t V : {20479, 20484, 50257}) {
    OpCase wide = linear_case(fmt::format("3x2x{}_frozen", V), {3, 2, V}, {.frozen = true});
    wide.gradient = true;
    list.push_back(std::move(wide));
  }
  // Logits of size 50: probabilities near 0 and 1.
  OpCase large = linear_case("large", {5, 10, 21}, {.x_values = normal(30)});
  large.gradient_condition *= 30;
  list.push_back(std::move(large));
  for (const auto& [N, D, V] : {std::array{64, 1024, 32000}, {512, 576, 8192}}) {
    OpCase timed = linear_case(fmt::format("{}x{}x{}", N, D, V), {N, D, V}, {.frozen = true});
    timed.benchmark_only = true;
    timed.flops = 2.0 * N * D * V;
    list.push_back(std::move(timed));
  }
  return list;
}

std::vector<ErrorCase> errors() {
  const auto zeros = [](const Shape& shape, DType dtype = DType::kF32, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  const auto targets = [](std::int64_t N) { return Tensor::zeros({N}, DType::kI64); };
  std::vector<ErrorCase> list = loss_errors(
      "linear_cross_entropy", [=](const Tensor& classes, const CrossEntropyOptions& options) {
        linear_cross_entropy(zeros({3, 4}), zeros({5, 4}), classes, options);
      });
  const auto refused = [&](const std::string& name, ErrorKind kind, std::vector<std::string> text,
                           const Tensor& x, const Tensor& weight, std::int64_t chunk_rows = 0) {
    list.push_back({name, kind, std::move(text),
                    [=] { linear_cross_entropy(x, weight, targets(3), {}, chunk_rows); }});
  };
  refused("x_rank", ErrorKind::kShape, {"linear_cross_entropy: ", "x [1,3,4] f32@cpu"},
          zeros({1, 3, 4}), zeros({5, 4}));
  refused("weight_rank", ErrorKind::kShape, {"weight [5] f32@cpu"}, zeros({3, 4}), zeros({5}));
  refused("features", ErrorKind::kShape, {"x [3,4] f32@cpu", "weight [5,3] f32@cpu"}, zeros({3, 4}),
          zeros({5, 3}));
  refused("no_classes", ErrorKind::kShape, {"weight [0,4] f32@cpu"}, zeros({3, 4}), zeros({0, 4}));
  refused("x_dtype", ErrorKind::kDtype, {"x [3,4] i32@cpu"}, zeros({3, 4}, DType::kI32),
          zeros({5, 4}));
  refused("weight_dtype", ErrorKind::kDtype, {"weight [5,4] u8@cpu"}, zeros({3, 4}),
          zeros({5, 4}, DType::kU8));
  refused("bf16_x_f32_weight", ErrorKind::kDtype, {"x [3,4] bf16@cpu", "weight [5,4] f32@cpu"},
          zeros({3, 4}, DType::kBF16), zeros({5, 4}));
  refused("bf16_x_f16_weight", ErrorKind::kDtype, {"x [3,4] bf16@cpu", "weight [5,4] f16@cpu"},
          zeros({3, 4}, DType::kBF16), zeros({5, 4}, DType::kF16));
  refused("weight_device", ErrorKind::kDevice, {"x [3,4] f32@cpu", "weight [5,4] f32@null"},
          zeros({3, 4}), zeros({5, 4}, DType::kF32, kNullDevice));
  refused("chunk_rows", ErrorKind::kArgument, {"chunk_rows"}, zeros({3, 4}), zeros({5, 4}), -1);
  refused("x_undefined", ErrorKind::kArgument, {"x"}, Tensor(), zeros({5, 4}));
  refused("weight_undefined", ErrorKind::kArgument, {"weight"}, zeros({3, 4}), Tensor());
  list.push_back({"target_in_a_later_chunk", ErrorKind::kArgument, {"targets", "row 4"}, [=] {
                    const std::vector<std::int64_t> classes = {0, 1, 2, 3, 9};
                    linear_cross_entropy(zeros({5, 4}), zeros({6, 4}),
                                         Tensor::from_values(classes, {5}), {}, 2);
                  }});
  return list;
}

}  // namespace

OpSpec spec_linear_cross_entropy() {
  return {.op = "linear_cross_entropy", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
