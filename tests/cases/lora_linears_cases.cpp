#include "reference/lora_linears_ref.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/op_spec.hpp"
#include "wick/ops/lora.hpp"

namespace wick::testing {

namespace {

struct LayerSize {
  std::int64_t N;
  std::int64_t r;
  bool has_bias = true;
  double scale = 2;
};

struct Options {
  Lay lay_x = Lay::kDense;
  std::vector<DType> dtype_x = {};
  std::vector<DType> dtype_adapter = {};  ///< of A and B
  bool gradient = true;
};

// Operands lie layer by layer behind x: weight, bias if there is one, A, B.
struct Operands {
  std::size_t weight, bias, a, b;
};

std::vector<Operands> places_of(const std::vector<LayerSize>& layers) {
  std::vector<Operands> places;
  std::size_t next = 1;
  for (const LayerSize& layer : layers) {
    const std::size_t biases = layer.has_bias ? 1 : 0;
    places.push_back({next, layer.has_bias ? next + 1 : 0, next + 1 + biases, next + 2 + biases});
    next += 3 + biases;
  }
  return places;
}

std::vector<Input> inputs_of(const Shape& x, const std::vector<LayerSize>& layers,
                             const Options& o) {
  const std::int64_t K = x[x.rank() - 1];
  std::vector<Input> inputs = {{.name = "x", .shape = x, .lay = o.lay_x, .fixed_dtype = o.dtype_x}};
  for (const LayerSize& layer : layers) {
    inputs.push_back({.name = "weight",
                      .shape = {layer.N, K},
                      .fixed_dtype = o.dtype_x,
                      .differentiable = false});
    if (layer.has_bias) {
      inputs.push_back({.name = "bias", .shape = {layer.N}, .fixed_dtype = o.dtype_x});
    }
    inputs.push_back({.name = "lora_a", .shape = {layer.r, K}, .fixed_dtype = o.dtype_adapter});
    inputs.push_back(
        {.name = "lora_b", .shape = {layer.N, layer.r}, .fixed_dtype = o.dtype_adapter});
  }
  return inputs;
}

std::vector<Array> reference_of(std::span<const Array> in, const std::vector<LayerSize>& layers,
                                bool positive) {
  std::vector<reference::LoraLayerRef> given;
  const std::vector<Operands> places = places_of(layers);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const double scale = static_cast<double>(static_cast<float>(layers[i].scale));
    given.push_back({.weight = in[places[i].weight],
                     .bias = layers[i].has_bias ? &in[places[i].bias] : nullptr,
                     .lora_a = in[places[i].a],
                     .lora_b = in[places[i].b],
                     .scale = positive ? std::abs(scale) : scale});
  }
  return reference::lora_linears_ref(in[0], given);
}

OpCase layers_case(const std::string& name, const Shape& x, const std::vector<LayerSize>& layers,
                   const Options& options = {}) {
  OpCase result;
  result.name = name;
  result.inputs = inputs_of(x, layers, options);
  result.run = [layers](std::span<const Tensor> in) {
    std::vector<LoraOperands> operands;
    const std::vector<Operands> places = places_of(layers);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      operands.push_back({.weight = in[places[i].weight],
                          .bias = layers[i].has_bias ? in[places[i].bias] : Tensor(),
                          .lora_a = in[places[i].a],
                          .lora_b = in[places[i].b],
                          .scale = layers[i].scale});
    }
    return lora_linears(in[0], operands);
  };
  result.reference = [layers](std::span<const Array> in) {
    return reference_of(in, layers, false);
  };
  result.tolerance.magnitude = [layers](std::span<const Array> in) {
    std::vector<Array> positive;
    for (const Array& operand : in) positive.push_back(reference::absolute(operand));
    return reference_of(positive, layers, true);
  };
  const std::int64_t K = x[x.rank() - 1];
  const std::int64_t M = x.numel() / std::max<std::int64_t>(K, 1);
  std::int64_t longest = M;
  std::int64_t total = 0;
  std::int64_t most_r = 0;
  for (const LayerSize& layer : layers) {
    total += layer.N + layer.r;
    most_r = std::max(most_r, layer.r);
  }
  longest = std::max(longest, total);
  result.tolerance.length = static_cast<double>(K + most_r + 1);
  // As for lora_linear; where layers are computed one by one, each sum of their gradients of x is rounded.
  result.tolerance.roundings = 4;
  result.gradient = options.gradient;
  result.gradient_length = static_cast<double>(longest + K + most_r + 1);
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  list.push_back(layers_case("one", {5, 17}, {{9, 3}}));
  list.push_back(layers_case("two", {5, 17}, {{9, 3}, {8, 4}}));
  list.push_back(layers_case("three", {5, 17}, {{9, 3}, {8, 4}, {5, 2}}));
  list.push_back(layers_case("three_dimensions", {2, 3, 16}, {{16, 4}, {8, 4}, {8, 4}}));
  list.push_back(layers_case("one_dimension", {17}, {{9, 3}, {8, 4}}));
  list.push_back(layers_case("one_row", {1, 64}, {{48, 8}, {16, 8}, {16, 8}}));
  list.push_back(layers_case("no_rows", {0, 17}, {{9, 3}, {8, 4}}));
  list.push_back(layers_case("no_outputs", {5, 17}, {{0, 3}, {8, 4}}));
  list.push_back(layers_case("some_without_bias", {7, 33}, {{17, 4, false}, {16, 4}, {5, 4}}));
  list.push_back(layers_case("other_scales", {7, 33}, {{17, 4, true, 0.3}, {16, 4, true, -1.5}}));
  list.push_back(layers_case("scale_0", {7, 33}, {{17, 4}, {16, 4, true, 0}}));
  list.push_back(layers_case("rank_0", {7, 33}, {{17, 4}, {16, 0}, {15, 4}}));
  list.push_back(layers_case("all_rank_0", {7, 33}, {{17, 0}, {16, 0}}));
  for (const Lay lay : {Lay::kPaddedRows, Lay::kStrided, Lay::kTransposed, Lay::kMisaligned}) {
    list.push_back(layers_case(fmt::format("lay_{}", static_cast<int>(lay)), {2, 5, 19},
                               {{9, 4}, {8, 4}}, {.lay_x = lay}));
  }
  list.push_back(
      layers_case("f32_adapter", {7, 32}, {{16, 4}, {8, 4}}, {.dtype_adapter = {DType::kF32}}));
  // Rows of 16 bytes, for the kernels on tensor cores: at and above their tiles.
  list.push_back(layers_case("qkv_128", {128, 64}, {{64, 16}, {16, 16}, {16, 16}}));
  list.push_back(layers_case("qkv_131", {131, 72}, {{72, 8}, {24, 8}, {24, 8}}));
  list.push_back(layers_case("gate_up_131", {131, 24}, {{136, 16, false}, {136, 16, false}}));
  list.push_back(layers_case("other_ranks_257", {257, 136}, {{16, 8}, {40, 24}, {136, 32}}));
  list.push_back(layers_case("r64_129", {129, 72}, {{64, 64}, {72, 64}}));
  list.push_back(layers_case("odd_rank_129", {129, 72}, {{64, 5}, {72, 5}}));
  // Strips of several tiles of rows, and more of them than run at once.
  list.push_back(layers_case("strips_2200", {2200, 72}, {{8, 8, false}}));
  list.push_back(layers_case("strips_8300", {8300, 8}, {{8, 8, false}}));
  const Options large = {.gradient = false};
  list.push_back(layers_case("qkv_300", {300, 520}, {{520, 16}, {136, 16}, {136, 16}}, large));
  list.push_back(layers_case("gate_up_600", {600, 264}, {{1160, 16, false}, {1160, 16, false}},
                             {.dtype_adapter = {DType::kF32}, .gradient = false}));
  list.push_back(layers_case("many_rows", {8456, 8}, {{264, 8}, {8, 8}}, large));
  return list;
}

LoraOperands zeros(const Shape& weight, const Shape& a, const Shape& b) {
  return {.weight = Tensor::zeros(weight, DType::kF32),
          .lora_a = Tensor::zeros(a, DType::kF32),
          .lora_b = Tensor::zeros(b, DType::kF32)};
}

std::vector<ErrorCase> errors() {
  const auto x = [] { return Tensor::zeros({2, 8}, DType::kF32); };
  const auto fits = [] { return zeros({5, 8}, {4, 8}, {5, 4}); };
  return {
      {"none", ErrorKind::kArgument, {"one to 3 layers, got 0"}, [=] { lora_linears(x(), {}); }},
      {"four",
       ErrorKind::kArgument,
       {"one to 3 layers, got 4"},
       [=] { lora_linears(x(), {fits(), fits(), fits(), fits()}); }},
      {"weight_columns",
       ErrorKind::kShape,
       {"lora_linears", "weight [5,7] f32@cpu"},
       [=] { lora_linears(x(), {fits(), zeros({5, 7}, {4, 8}, {5, 4})}); }},
      {"b_rows",
       ErrorKind::kShape,
       {"lora_b [6,4] f32@cpu"},
       [=] { lora_linears(x(), {fits(), zeros({5, 8}, {4, 8}, {6, 4})}); }},
      {"weight_requires_gradient",
       ErrorKind::kArgument,
       {"weight is frozen"},
       [=] {
         LoraOperands trained = fits();
         trained.weight.set_requires_grad(true);
         lora_linears(x(), {fits(), trained});
       }},
      {"device",
       ErrorKind::kDevice,
       {"weight [5,8] f32@null"},
       [=] {
         LoraOperands elsewhere = fits();
         elsewhere.weight = Tensor::zeros({5, 8}, DType::kF32, kNullDevice);
         lora_linears(x(), {elsewhere});
       }},
      {"undefined", ErrorKind::kArgument, {"x"}, [=] { lora_linears(Tensor(), {fits()}); }},
  };
}

}  // namespace

OpSpec spec_lora_linears() {
  return {.op = "lora_linears", .dtypes = kFloating, .cases = cases(), .errors = errors()};
}

}  // namespace wick::testing
