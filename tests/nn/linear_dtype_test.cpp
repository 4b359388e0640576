#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/nn_support.hpp"
#include "wick/nn/linear.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/random.hpp"
#include "wick/ops/reduce.hpp"

namespace wick::test {

namespace {

constexpr std::int64_t kRows = 6;
constexpr std::int64_t kIn = 24;
constexpr std::int64_t kOut = 16;
constexpr std::int64_t kRank = 4;

Tensor random(const Shape& shape, std::uint64_t seed, double size = 1) {
  return random_normal(shape, DType::kF32, {.seed = seed}, 0, size);
}

struct Kind {
  std::string name;
  bool biased = false;
  std::optional<DType> bias_dtype = {};  // the weight's
  std::size_t adapters = 0;
  bool dora = false;
  double dropout = 0;
  bool trains_weight = false;
};

// A layer and what it gives: its result and the gradients of x, of every adapter tensor, and of what else is trained.
struct Results {
  DType dtype;
  std::vector<std::vector<float>> values;
};

std::shared_ptr<LoraLayer> adapter_of(const Kind& kind, std::uint64_t seed) {
  auto layer = std::make_shared<LoraLayer>();
  layer->a = random({kRank, kIn}, seed);
  layer->b = random({kOut, kRank}, seed + 1, 0.5);
  if (kind.dora) layer->magnitude = random({kOut}, seed + 2);
  layer->scale = 0.75;
  layer->dropout = kind.dropout;
  return layer;
}

Results run(const Kind& kind, DType held, DType activations) {
  const Tensor weight = cast(random({kOut, kIn}, 1), held);
  const Tensor bias =
      kind.biased ? cast(random({kOut}, 2), kind.bias_dtype.value_or(held)) : Tensor();
  Linear linear("some.layer", 3, weight, bias);
  std::vector<Tensor> trained;
  std::vector<WeightedLora> adapters;
  for (std::size_t i = 0; i < kind.adapters; ++i) {
    const auto layer = adapter_of(kind, 10 * (i + 1));
    for (const Tensor& tensor : {layer->a, layer->b, layer->magnitude}) {
      if (tensor.defined()) trained.push_back(tensor);
    }
    adapters.push_back({layer, 1});
  }
  linear.set_adapters(adapters);
  if (kind.trains_weight) {
    trained.push_back(weight);
    if (bias.defined()) trained.push_back(bias);
  }
  const Tensor x = cast(random({kRows, kIn}, 5), activations);
  x.set_requires_grad(true);
  for (const Tensor& tensor : trained) tensor.set_requires_grad(true);
  const Tensor y = linear.forward(x, {.training = true, .seed = 8});
  Results results{.dtype = y.dtype(), .values = {floats(y.detach())}};
  backward(sum(mul(y, cast(random({kRows, kOut}, 6), y.dtype()))));
  EXPECT_EQ(x.grad().dtype(), activations);
  results.values.push_back(floats(x.grad()));
  for (const Tensor& tensor : trained) {
    EXPECT_EQ(tensor.grad().dtype(), tensor.dtype());
    results.values.push_back(floats(tensor.grad()));
  }
  return results;
}

double relative_error(const std::vector<float>& got, const std::vector<float>& expected) {
  if (got.size() != expected.size() || got.empty()) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto value = static_cast<double>(expected[i]);
    difference += std::pow(static_cast<double>(got[i]) - value, 2);
    norm += value * value;
  }
  return std::sqrt(difference / norm);
}

class LinearDtypes : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(
    Linear, LinearDtypes,
    testing::Values(
        Kind{.name = "plain"}, Kind{.name = "biased", .biased = true},
        Kind{.name = "f32_bias", .biased = true, .bias_dtype = DType::kF32},
        Kind{.name = "lora", .adapters = 1},
        Kind{.name = "lora_biased", .biased = true, .adapters = 1},
        Kind{.name = "lora_f32_bias", .biased = true, .bias_dtype = DType::kF32, .adapters = 1},
        Kind{.name = "lora_dropout", .adapters = 1, .dropout = 0.4},
        Kind{.name = "dora", .biased = true, .adapters = 1, .dora = true},
        Kind{.name = "dora_dropout", .biased = true, .adapters = 1, .dora = true, .dropout = 0.4},
        Kind{.name = "two", .biased = true, .adapters = 2},
        Kind{.name = "two_dora", .adapters = 2, .dora = true}),
    [](const auto& test) { return test.param.name; });

// Every dtype of weights under every dtype of activations, against the same numbers in f32.
TEST_P(LinearDtypes, GiveTheSameButForRounding) {
  const Results expected = run(GetParam(), DType::kF32, DType::kF32);
  for (const DType held : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const DType activations : {DType::kF32, DType::kF16, DType::kBF16}) {
      SCOPED_TRACE(std::string(to_string(held)) + " weight, x " +
                   std::string(to_string(activations)));
      const Results got = run(GetParam(), held, activations);
      EXPECT_EQ(got.dtype, activations);
      const bool is_bf16 = held == DType::kBF16 || activations == DType::kBF16;
      ASSERT_EQ(got.values.size(), expected.values.size());
      for (std::size_t i = 0; i < got.values.size(); ++i) {
        EXPECT_LT(relative_error(got.values[i], expected.values[i]), is_bf16 ? 0.02 : 0.0025) << i;
      }
    }
  }
}

TEST(LinearDtype, ATrainedF32WeightGetsAnF32Gradient) {
  const Kind kind{.name = "full", .biased = true, .trains_weight = true};
  const Results expected = run(kind, DType::kF32, DType::kF32);
  for (const DType activations : {DType::kF16, DType::kBF16}) {
    const Results got = run(kind, DType::kF32, activations);
    for (std::size_t i = 0; i < got.values.size(); ++i) {
      EXPECT_LT(relative_error(got.values[i], expected.values[i]), 0.02) << i;
    }
  }
}

// DoRA's gain lies near 1, where bf16 has steps of 1/128: what training changes in it must show all the same.
TEST(LinearDtype, SmallChangesOfAMagnitudeShow) {
  const Tensor x = cast(random({64, kIn}, 5), DType::kBF16);
  const auto mean_square = [&](float factor) {
    const NoGradGuard no_gradient;
    Linear linear("some.layer", 3, cast(random({kOut, kIn}, 1), DType::kBF16), Tensor());
    auto layer = adapter_of({.name = "", .dora = true}, 10);
    layer->magnitude = Tensor::full({kOut}, factor, DType::kF32);
    linear.set_adapters({{layer, 1}});
    double total = 0;
    for (const float y : floats(linear.forward(x, {})))
      total += std::pow(static_cast<double>(y), 2);
    return total;
  };
  EXPECT_NEAR(mean_square(1.001F) / mean_square(1), 1.002, 5e-4);
}

}  // namespace

}  // namespace wick::test
