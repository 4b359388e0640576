#include "wick/nn/linear.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "nn/nn_support.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/random.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::test {

namespace {

constexpr std::int64_t kRows = 3;
constexpr std::int64_t kIn = 5;
constexpr std::int64_t kOut = 4;
constexpr std::int64_t kRank = 2;
constexpr double kTolerance = 2e-6;

Tensor random(const Shape& shape, std::uint64_t seed) {
  return random_normal(shape, DType::kF32, {.seed = seed}, 0, 1);
}

std::shared_ptr<LoraLayer> layer_of(std::uint64_t seed, bool dora = false) {
  auto layer = std::make_shared<LoraLayer>();
  layer->a = random({kRank, kIn}, seed);
  layer->b = random({kOut, kRank}, seed + 1);
  if (dora) layer->magnitude = random({kOut}, seed + 2);
  layer->scale = 0.75;
  return layer;
}

Linear linear_of(bool biased = true, DType dtype = DType::kF32) {
  return Linear("some.layer", 3, cast(random({kOut, kIn}, 11), dtype),
                biased ? cast(random({kOut}, 12), dtype) : Tensor());
}

// What one adapter makes of W, in double: W + s B A, or with DoRA m (W + s B A) / ‖W + s B A‖ by rows.
std::vector<double> adapted_weight(const Linear& linear, const LoraLayer& layer) {
  const std::vector<float> w = floats(linear.weight());
  const std::vector<float> a = floats(layer.a);
  const std::vector<float> b = floats(layer.b);
  std::vector<double> result(w.begin(), w.end());
  for (std::size_t n = 0; n < kOut; ++n) {
    double squares = 0;
    for (std::size_t k = 0; k < kIn; ++k) {
      double& value = result[n * kIn + k];
      for (std::size_t r = 0; r < kRank; ++r) {
        value += layer.scale * static_cast<double>(b[n * kRank + r]) *
                 static_cast<double>(a[r * kIn + k]);
      }
      squares += value * value;
    }
    if (!layer.magnitude.defined()) continue;
    const double gain = static_cast<double>(floats(layer.magnitude)[n]) / std::sqrt(squares);
    for (std::size_t k = 0; k < kIn; ++k) result[n * kIn + k] *= gain;
  }
  return result;
}

// x Vᵀ + b with V = W + Σ weight · (adapted W − W).
std::vector<float> reference(const Linear& linear, const Tensor& x,
                             const std::vector<WeightedLora>& adapters) {
  const std::vector<float> w = floats(linear.weight());
  std::vector<double> v(w.begin(), w.end());
  for (const WeightedLora& adapter : adapters) {
    const std::vector<double> changed = adapted_weight(linear, *adapter.layer);
    for (std::size_t i = 0; i < v.size(); ++i) {
      v[i] += adapter.weight * (changed[i] - static_cast<double>(w[i]));
    }
  }
  const std::vector<float> in = floats(x);
  std::vector<float> out;
  for (std::size_t m = 0; m < kRows; ++m) {
    for (std::size_t n = 0; n < kOut; ++n) {
      double sum = linear.bias().defined() ? static_cast<double>(floats(linear.bias())[n]) : 0;
      for (std::size_t k = 0; k < kIn; ++k) {
        sum += static_cast<double>(in[m * kIn + k]) * v[n * kIn + k];
      }
      out.push_back(static_cast<float>(sum));
    }
  }
  return out;
}

void expect_forward(Linear& linear, const std::vector<WeightedLora>& adapters) {
  const Tensor x = random({kRows, kIn}, 1);
  linear.set_adapters(adapters);
  EXPECT_LT(max_error(floats(linear.forward(x, {})), reference(linear, x, adapters)), kTolerance);
}

TEST(Linear, AddsItsAdapters) {
  for (const bool biased : {true, false}) {
    Linear linear = linear_of(biased);
    const auto plain = layer_of(20);
    const auto dora = layer_of(30, true);
    expect_forward(linear, {});
    expect_forward(linear, {{plain, 1}});
    expect_forward(linear, {{dora, 1}});
    expect_forward(linear, {{plain, -0.5}});
    expect_forward(linear, {{dora, 0.25}});
    expect_forward(linear, {{plain, 0.5}, {dora, 2}, {layer_of(40), 1}});
  }
}

TEST(Linear, TakesInputsOfAnyRankAndHalfWeights) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    Linear linear = linear_of(true, dtype);
    expect_forward(linear, {});
    expect_forward(linear, {{layer_of(20), 1}});
    expect_forward(linear, {{layer_of(30, true), 1}, {layer_of(20), 0.5}});
    EXPECT_EQ(linear.forward(random({2, 7, kIn}, 1), {}).shape(), (Shape{2, 7, kOut}));
    EXPECT_EQ(linear.forward(random({2, 7, kIn}, 1), {}).dtype(), DType::kF32);
  }
}

struct Gradients {
  std::vector<float> x, a, b, magnitude;
};

Gradients gradients_of(Linear& linear, const std::shared_ptr<LoraLayer>& layer, double weight,
                       const PassContext& pass = {}) {
  linear.set_adapters({{layer, weight}});
  const Tensor x = random({kRows, kIn}, 1).set_requires_grad(true);
  for (const Tensor& tensor : {layer->a, layer->b, layer->magnitude}) {
    if (!tensor.defined()) continue;
    tensor.set_grad(Tensor());
    tensor.set_requires_grad(true);
  }
  backward(linear.forward(x, pass), random({kRows, kOut}, 2));
  return {floats(x.grad()), floats(layer->a.grad()), floats(layer->b.grad()),
          layer->magnitude.defined() ? floats(layer->magnitude.grad()) : std::vector<float>()};
}

std::vector<float> times(std::vector<float> values, float factor) {
  for (float& value : values) value *= factor;
  return values;
}

TEST(Linear, PassesGradientsThroughMixtures) {
  for (const bool dora : {false, true}) {
    Linear linear = linear_of();
    const auto layer = layer_of(20, dora);
    const Gradients alone = gradients_of(linear, layer, 1);
    const Gradients half = gradients_of(linear, layer, 0.5);
    EXPECT_LT(max_error(times(alone.a, 0.5F), half.a), 1e-5);
    EXPECT_LT(max_error(times(alone.b, 0.5F), half.b), 1e-5);
    EXPECT_LT(max_error(times(alone.magnitude, 0.5F), half.magnitude), 1e-5);
    // Half of the adapted layer's and half of the plain one's.
    linear.set_adapters({});
    const Tensor x = random({kRows, kIn}, 1).set_requires_grad(true);
    backward(linear.forward(x, {}), random({kRows, kOut}, 2));
    std::vector<float> expected = floats(x.grad());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = (expected[i] + alone.x[i]) / 2;
    EXPECT_LT(max_error(half.x, expected), 1e-5);
  }
}

// Adapter and layer of which the output is the adapter's input: W = 0, A = B = 1.
Linear see_through(const std::shared_ptr<LoraLayer>& layer, std::int64_t size,
                   std::uint64_t index) {
  std::vector<float> identity(static_cast<std::size_t>(size * size));
  for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i) {
    identity[i * static_cast<std::size_t>(size) + i] = 1;
  }
  layer->a = layer->b = Tensor::from_values(identity, {size, size});
  return Linear("layer", index, Tensor::zeros({size, size}, DType::kF32), Tensor());
}

TEST(Linear, DropsOnlyInTrainingScaledAndRepeatable) {
  constexpr std::int64_t kSize = 64;
  const Tensor x = random({kSize, kSize}, 5);
  for (const bool dora : {false, true}) {
    const auto layer = std::make_shared<LoraLayer>();
    Linear linear = see_through(layer, kSize, 1);
    layer->dropout = 0.25;
    if (dora) layer->magnitude = Tensor::full({kSize}, 2, DType::kF32);
    const double gain = dora ? 2 : 1;
    linear.set_adapters({{layer, 1}});
    const PassContext pass{.training = true, .seed = 7};
    EXPECT_LT(max_error(linear.forward(x, {.training = false, .seed = 7}), scale(x, gain)), 1e-6);

    const std::vector<float> whole = floats(x);
    const std::vector<float> got = floats(linear.forward(x, pass));
    double dropped = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (got[i] == 0) {
        ++dropped;
      } else {
        EXPECT_NEAR(got[i], gain * static_cast<double>(whole[i]) / 0.75, 1e-5);
      }
    }
    EXPECT_NEAR(dropped / static_cast<double>(got.size()), 0.25, 0.03);

    EXPECT_EQ(floats(linear.forward(x, pass)), got);
    EXPECT_NE(floats(linear.forward(x, {.training = true, .seed = 8})), got);
    Linear other = see_through(layer, kSize, 2);
    other.set_adapters({{layer, 1}});
    EXPECT_NE(floats(other.forward(x, pass)), got);
    // A mixture drops as well.
    linear.set_adapters({{layer, 0.5}});
    EXPECT_LT(max_error(floats(scale(linear.forward(x, pass), 2)), got), 1e-5);
  }
}

TEST(Linear, MergesIntoTheSameProductAndRestoresTheBits) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    Linear linear = linear_of(true, dtype);
    const Tensor x = random({kRows, kIn}, 1);
    const std::vector<float> before = floats(linear.weight());
    linear.set_adapters({{layer_of(20), 0.5}, {layer_of(30, true), 1}});
    const Tensor open = linear.forward(x, {});
    linear.merge();
    EXPECT_TRUE(linear.is_merged());
    EXPECT_EQ(linear.weight().dtype(), dtype);
    const double unit = dtype == DType::kF32 ? 1e-7 : dtype == DType::kF16 ? 1e-3 : 8e-3;
    EXPECT_LT(max_error(linear.forward(x, {}), open), 20 * unit);
    // Again changes nothing: neither the weight nor what merged_weight() says.
    const std::vector<float> merged = floats(linear.weight());
    linear.merge();
    EXPECT_EQ(floats(linear.weight()), merged);
    EXPECT_EQ(floats(linear.merged_weight()), merged);
    linear.unmerge();
    EXPECT_FALSE(linear.is_merged());
    EXPECT_EQ(floats(linear.weight()), before);
    EXPECT_EQ(floats(linear.forward(x, {})), floats(open));
    linear.unmerge();
    EXPECT_EQ(floats(linear.weight()), before);
  }
}

TEST(Linear, RoundsAMergedWeightOnce) {
  Linear linear = linear_of(false, DType::kBF16);
  const auto layer = layer_of(20);
  linear.set_adapters({{layer, 1}});
  const std::vector<double> exact = adapted_weight(linear, *layer);
  const std::vector<float> merged = floats(linear.merged_weight());
  for (std::size_t i = 0; i < merged.size(); ++i) {
    EXPECT_EQ(merged[i], static_cast<float>(BFloat16(static_cast<float>(exact[i])))) << i;
  }
}

TEST(Linear, MergesWeightsThatTakeSeveralBlocks) {
  constexpr std::int64_t kN = 2100;
  constexpr std::int64_t kK = 4096;
  Linear linear("layer", 0, random({kN, kK}, 1), Tensor());
  const auto layer = std::make_shared<LoraLayer>();
  layer->a = random({1, kK}, 2);
  layer->b = random({kN, 1}, 3);
  layer->magnitude = random({kN}, 4);
  linear.set_adapters({{layer, 1}});
  const Tensor x = random({2, kK}, 5);
  const Tensor open = linear.forward(x, {});
  linear.merge();
  EXPECT_LT(max_error(linear.forward(x, {}), open), 2e-4);
}

TEST(Linear, SeesWhenWhatDoraRememberedHasChanged) {
  Linear linear = linear_of();
  const auto layer = layer_of(30, true);
  const NoGradGuard no_gradient;
  const auto expect_right = [&] {
    const Tensor x = random({kRows, kIn}, 1);
    for (int pass = 0; pass < 2; ++pass) {
      EXPECT_LT(max_error(floats(linear.forward(x, {})), reference(linear, x, {{layer, 1}})),
                kTolerance);
    }
  };
  linear.set_adapters({{layer, 1}});
  expect_right();
  copy_(layer->magnitude, random({kOut}, 50));
  expect_right();
  copy_(layer->a, random({kRank, kIn}, 51));
  expect_right();
  copy_(layer->b, random({kOut, kRank}, 52));
  expect_right();
  layer->b = random({kOut, kRank}, 53);
  expect_right();
}

TEST(Linear, RefusesWhatDoesNotFit) {
  Linear linear = linear_of();
  auto wide = layer_of(20);
  wide->a = random({kRank, kIn + 1}, 1);
  EXPECT_TRUE(has(error_of([&] { linear.set_adapters({{wide, 1}}); }),
                  "shape: set_adapters: some.layer: lora_A must be [r,5] and lora_B [4,r]; got"));
  auto uneven = layer_of(20);
  uneven->b = random({kOut, kRank + 1}, 1);
  EXPECT_TRUE(has(error_of([&] { linear.set_adapters({{uneven, 1}}); }), "lora_B [4,r]; got"));
  auto long_magnitude = layer_of(20, true);
  long_magnitude->magnitude = random({kOut + 1}, 1);
  EXPECT_TRUE(has(error_of([&] { linear.set_adapters({{long_magnitude, 1}}); }),
                  "lora_magnitude_vector must be [4], got [5]"));
  EXPECT_FALSE(linear.has_adapters());
}

TEST(Linear, KeepsItsAdaptersWhileTheyAreMerged) {
  Linear linear = linear_of();
  const auto layer = layer_of(20);
  linear.set_adapters({{layer, 1}});
  linear.merge();
  EXPECT_TRUE(has(error_of([&] { linear.set_adapters({}); }), "unmerge first"));
  EXPECT_TRUE(has(error_of([&] { linear.drop_adapter(layer.get()); }), "unmerge first"));
  linear.drop_adapter(layer_of(40).get());  // not among them
  linear.unmerge();
  linear.drop_adapter(layer.get());
  EXPECT_FALSE(linear.has_adapters());
}

}  // namespace

}  // namespace wick::test
