#include "reference/swiglu_mlp_ref.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/op_spec.hpp"
#include "wick/ops/lora.hpp"

namespace wick::testing {

namespace {

struct Options {
  std::array<std::int64_t, 3> ranks = {4, 4, 4};  ///< of gate, up and down
  std::array<bool, 3> biases = {false, false, false};
  Lay lay_x = Lay::kDense;
  std::vector<DType> dtype_adapter = {};  ///< of A and B
  bool gradient = true;
};

constexpr std::array<double, 3> kScales = {2, -0.5, 1.5};

// Operands lie layer by layer behind x: weight, bias if there is one, A, B.
struct Operands {
  std::size_t weight, bias, a, b;
};

std::array<Operands, 3> places_of(const std::array<bool, 3>& biases) {
  std::array<Operands, 3> places{};
  std::size_t next = 1;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::size_t has_bias = biases[i] ? 1 : 0;
    places[i] = {next, biases[i] ? next + 1 : 0, next + 1 + has_bias, next + 2 + has_bias};
    next += 3 + has_bias;
  }
  return places;
}

// Weights are as small as those of models, so that no sum runs away.
std::vector<Input> inputs_of(const Shape& x, std::int64_t F, std::int64_t N, const Options& o) {
  const std::int64_t K = x[x.rank() - 1];
  const auto small = [](std::int64_t length) {
    return normal(1 / std::sqrt(static_cast<double>(std::max<std::int64_t>(length, 1))));
  };
  std::vector<Input> inputs = {{.name = "x", .shape = x, .lay = o.lay_x}};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t from = i < 2 ? K : F;
    const std::int64_t to = i < 2 ? F : N;
    const std::int64_t r = o.ranks[i];
    inputs.push_back(
        {.name = "weight", .shape = {to, from}, .values = small(from), .differentiable = false});
    if (o.biases[i]) inputs.push_back({.name = "bias", .shape = {to}});
    inputs.push_back({.name = "lora_a",
                      .shape = {r, from},
                      .values = small(from),
                      .fixed_dtype = o.dtype_adapter});
    inputs.push_back(
        {.name = "lora_b", .shape = {to, r}, .values = small(r), .fixed_dtype = o.dtype_adapter});
  }
  return inputs;
}

std::array<reference::LoraLayerRef, 3> layers_of(std::span<const Array> in,
                                                 const std::array<bool, 3>& biases, bool positive) {
  const std::array<Operands, 3> places = places_of(biases);
  const auto layer = [&](std::size_t i) {
    const double scale = positive ? std::abs(kScales[i]) : kScales[i];
    return reference::LoraLayerRef{.weight = in[places[i].weight],
                                   .bias = biases[i] ? &in[places[i].bias] : nullptr,
                                   .lora_a = in[places[i].a],
                                   .lora_b = in[places[i].b],
                                   .scale = scale};
  };
  return {layer(0), layer(1), layer(2)};
}

OpCase mlp_case(const std::string& name, const Shape& x, std::int64_t F, std::int64_t N,
                const Options& options = {}) {
  OpCase result;
  result.name = name;
  result.inputs = inputs_of(x, F, N, options);
  const std::array<bool, 3> biases = options.biases;
  result.run = [biases](std::span<const Tensor> in) {
    const std::array<Operands, 3> places = places_of(biases);
    const auto layer = [&](std::size_t i) {
      return LoraOperands{.weight = in[places[i].weight],
                          .bias = biases[i] ? in[places[i].bias] : Tensor(),
                          .lora_a = in[places[i].a],
                          .lora_b = in[places[i].b],
                          .scale = kScales[i]};
    };
    return std::vector{swiglu_mlp(in[0], layer(0), layer(1), layer(2))};
  };
  result.reference = [biases](std::span<const Array> in) {
    return std::vector{reference::swiglu_mlp_ref(in[0], layers_of(in, biases, false))};
  };
  result.tolerance.magnitude = [biases](std::span<const Array> in) {
    std::vector<Array> positive;
    for (const Array& operand : in) positive.push_back(reference::absolute(operand));
    return std::vector{reference::swiglu_mlp_bound(positive[0], layers_of(positive, biases, true))};
  };
  const std::int64_t K = x[x.rank() - 1];
  const std::int64_t M = x.numel() / std::max<std::int64_t>(K, 1);
  result.tolerance.length = static_cast<double>(K + F + 8);
  // Of gate, up and their swiglu, and of what lora_linear rounds for each of them.
  result.tolerance.roundings = 8;
  result.gradient = options.gradient;
  result.gradient_length = static_cast<double>(std::max(M, K + F + N) + 8);
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(mlp_case("5x17", {5, 17}, 9, 13));
  list.push_back(mlp_case("three_dimensions", {2, 3, 16}, 24, 16));
  list.push_back(mlp_case("one_dimension", {17}, 9, 8));
  list.push_back(mlp_case("one_row", {1, 64}, 48, 64, {.ranks = {8, 8, 8}}));
  list.push_back(mlp_case("no_rows", {0, 17}, 9, 8));
  list.push_back(mlp_case("nothing_between", {5, 17}, 0, 8));
  list.push_back(mlp_case("biases", {7, 33}, 16, 9, {.biases = {true, true, true}}));
  list.push_back(mlp_case("some_biases", {7, 33}, 16, 9, {.biases = {false, true, false}}));
  list.push_back(mlp_case("other_ranks", {7, 33}, 16, 9, {.ranks = {2, 5, 3}}));
  list.push_back(mlp_case("rank_0", {7, 33}, 16, 9, {.ranks = {0, 4, 0}}));
  list.push_back(mlp_case("f32_adapter", {7, 32}, 16, 8, {.dtype_adapter = {DType::kF32}}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kMisaligned}) {
    list.push_back(
        mlp_case(fmt::format("lay_{}", static_cast<int>(lay)), {2, 5, 19}, 9, 8, {.lay_x = lay}));
  }
  // Rows of 16 bytes, for the kernels on tensor cores: at and above their tiles.
  list.push_back(mlp_case("128", {128, 64}, 128, 64, {.ranks = {16, 16, 16}}));
  list.push_back(
      mlp_case("131", {131, 72}, 136, 24, {.ranks = {8, 8, 8}, .biases = {true, true, true}}));
  list.push_back(mlp_case("other_ranks_131", {131, 24}, 72, 40, {.ranks = {8, 24, 16}}));
  list.push_back(mlp_case("r40_130", {130, 40}, 64, 40, {.ranks = {40, 40, 40}}));
  list.push_back(
      mlp_case("600", {600, 136}, 584, 72,
               {.ranks = {16, 16, 16}, .dtype_adapter = {DType::kF32}, .gradient = false}));
  return list;
}

LoraOperands zeros(std::int64_t N, std::int64_t K) {
  return {.weight = Tensor::zeros({N, K}, DType::kF32),
          .lora_a = Tensor::zeros({4, K}, DType::kF32),
          .lora_b = Tensor::zeros({N, 4}, DType::kF32)};
}

std::vector<ErrorCase> errors() {
  const auto x = [] { return Tensor::zeros({2, 8}, DType::kF32); };
  return {
      {"sizes",
       ErrorKind::kShape,
       {"swiglu_mlp", "up must be [6,8] to match gate", "up [5,8] f32@cpu"},
       [=] { swiglu_mlp(x(), zeros(6, 8), zeros(5, 8), zeros(8, 6)); }},
      {"gate_columns",
       ErrorKind::kShape,
       {"swiglu_mlp", "weight [6,7] f32@cpu"},
       [=] { swiglu_mlp(x(), zeros(6, 7), zeros(6, 8), zeros(8, 6)); }},
      {"down_columns",
       ErrorKind::kShape,
       {"swiglu_mlp", "x [2,6] f32@cpu", "weight [8,5] f32@cpu"},
       [=] { swiglu_mlp(x(), zeros(6, 8), zeros(6, 8), zeros(8, 5)); }},
      {"weight_requires_gradient",
       ErrorKind::kArgument,
       {"weight is frozen"},
       [=] {
         LoraOperands trained = zeros(8, 6);
         trained.weight.set_requires_grad(true);
         swiglu_mlp(x(), zeros(6, 8), zeros(6, 8), trained);
       }},
      {"device",
       ErrorKind::kDevice,
       {"weight [6,8] f32@null"},
       [=] {
         LoraOperands elsewhere = zeros(6, 8);
         elsewhere.weight = Tensor::zeros({6, 8}, DType::kF32, kNullDevice);
         swiglu_mlp(x(), zeros(6, 8), elsewhere, zeros(8, 6));
       }},
      {"undefined",
       ErrorKind::kArgument,
       {"x"},
       [=] { swiglu_mlp(Tensor(), zeros(6, 8), zeros(6, 8), zeros(8, 6)); }},
  };
}

}  // namespace

OpSpec spec_swiglu_mlp() {
  return {.op = "swiglu_mlp", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
