// lora_linear against the ops that it is made of, and what its backward pass allocates.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "wick/autograd/autograd.hpp"
#include "wick/ops/arithmetic.hpp"
#include "wick/ops/lora.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/random.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

namespace {

Tensor normal(std::uint64_t seed, const Shape& shape, DType dtype, double std = 1) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> draw(0, std);
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& value : values) value = static_cast<float>(draw(rng));
  return cast(Tensor::from_values(values, shape), dtype);
}

std::vector<float> numbers(const Tensor& x) { return cast(x, DType::kF32).to_vector<float>(); }

double unit_roundoff(DType dtype) { return dtype == DType::kF32 ? 0x1p-24 : 0x1p-8; }

struct Mix {
  std::string name;
  DType x, weight, adapter;
  double dropout = 0;
};

std::ostream& operator<<(std::ostream& out, const Mix& mix) { return out << mix.name; }

// The operands of one call, and the gradients that it leaves in them.
struct Operands {
  explicit Operands(const Mix& mix)
      : x(normal(1, {2, 5, 70}, mix.x)),
        weight(normal(2, {33, 70}, mix.weight, 0.2)),
        bias(normal(3, {33}, mix.weight)),
        lora_a(normal(4, {6, 70}, mix.adapter, 0.2)),
        lora_b(normal(5, {33, 6}, mix.adapter)) {
    for (const Tensor& tensor : trained()) tensor.set_requires_grad(true);
  }

  std::vector<Tensor> trained() const { return {x, bias, lora_a, lora_b}; }

  Tensor x, weight, bias, lora_a, lora_b;
};

// matmul, matmul, scale, add: in f32 throughout, as the op computes.
Tensor composition(const Operands& o, const LoraOptions& options) {
  const auto f32 = [](const Tensor& tensor) { return cast(tensor, DType::kF32); };
  const auto linear = [](const Tensor& input, const Tensor& matrix) {
    return matmul(input, matrix, {.transpose_b = true});
  };
  const Tensor x = f32(o.x);
  const Tensor base = add(linear(x, f32(o.weight)), f32(o.bias));
  const Tensor adapter_input = dropout(x, options.dropout, options.key);
  const Tensor adapter = linear(linear(adapter_input, f32(o.lora_a)), f32(o.lora_b));
  return cast(add(base, scale(adapter, options.scale)), o.x.dtype());
}

// Each of the two rounds once to the dtype, and both sum in f32 in an order of their own.
void expect_close(const Tensor& got, const Tensor& expected) {
  ASSERT_EQ(got.shape(), expected.shape());
  ASSERT_EQ(got.dtype(), expected.dtype());
  const std::vector<float> a = numbers(got);
  const std::vector<float> b = numbers(expected);
  double largest = 0;
  for (const float value : b) largest = std::max(largest, std::abs(static_cast<double>(value)));
  EXPECT_GT(largest, 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double size = std::abs(static_cast<double>(b[i]));
    ASSERT_NEAR(a[i], b[i], 2 * unit_roundoff(got.dtype()) * size + 2e-6 * largest) << i;
  }
}

class LoraLinearParts : public ::testing::TestWithParam<Mix> {};

TEST_P(LoraLinearParts, EqualTheOp) {
  const Mix& mix = GetParam();
  const LoraOptions options = {
      .scale = 1.7, .dropout = mix.dropout, .key = {.seed = 11, .offset = 3}};
  const Operands fused(mix);
  const Operands parts(mix);
  const Tensor out =
      lora_linear(fused.x, fused.weight, fused.bias, fused.lora_a, fused.lora_b, options);
  const Tensor expected = composition(parts, options);
  expect_close(out, expected);

  const Tensor cotangent = normal(6, out.shape(), out.dtype());
  backward(out, cotangent);
  backward(expected, cotangent);
  const char* const names[] = {"x", "bias", "lora_a", "lora_b"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    SCOPED_TRACE(names[i]);
    ASSERT_TRUE(fused.trained()[i].grad().defined());
    expect_close(fused.trained()[i].grad(), parts.trained()[i].grad());
  }
  EXPECT_FALSE(fused.weight.grad().defined());
}

INSTANTIATE_TEST_SUITE_P(
    Dtypes, LoraLinearParts,
    ::testing::Values(Mix{"f32", DType::kF32, DType::kF32, DType::kF32},
                      Mix{"bf16", DType::kBF16, DType::kBF16, DType::kBF16},
                      Mix{"bf16_f32_adapter", DType::kBF16, DType::kBF16, DType::kF32},
                      Mix{"f32_bf16_weight", DType::kF32, DType::kBF16, DType::kF32},
                      Mix{"f32_dropout", DType::kF32, DType::kF32, DType::kF32, 0.25},
                      Mix{"bf16_dropout", DType::kBF16, DType::kBF16, DType::kF32, 0.25}),
    [](const auto& test) { return test.param.name; });

class LoraLinearMemory : public ::testing::TestWithParam<Mix> {};

// M = 4 rows through a weight of 2048 x 2048: anything of the weight's size would stand out.
TEST_P(LoraLinearMemory, BackwardAllocatesNothingOfTheWeightsSize) {
  constexpr std::int64_t kSize = 2048;
  const Mix& mix = GetParam();
  const Tensor x = normal(1, {4, kSize}, mix.x).set_requires_grad(true);
  const Tensor weight = normal(2, {kSize, kSize}, mix.weight, 0.02);
  const Tensor lora_a = normal(3, {8, kSize}, mix.adapter, 0.02).set_requires_grad(true);
  const Tensor lora_b = normal(4, {kSize, 8}, mix.adapter).set_requires_grad(true);
  const Tensor out = lora_linear(x, weight, Tensor(), lora_a, lora_b, {.scale = 2});
  const Tensor cotangent = normal(5, out.shape(), out.dtype());
  synchronize(kCpuDevice);
  reset_peak_memory(kCpuDevice);
  const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
  backward(out, cotangent);
  synchronize(kCpuDevice);
  EXPECT_LT(memory_stats(kCpuDevice).peak_bytes - before, kSize * kSize * 2 / 8);
  EXPECT_TRUE(x.grad().defined() && lora_a.grad().defined() && lora_b.grad().defined());
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LoraLinearMemory,
                         ::testing::Values(Mix{"f32", DType::kF32, DType::kF32, DType::kF32},
                                           Mix{"bf16", DType::kBF16, DType::kBF16, DType::kF32},
                                           Mix{"f32_bf16_weight", DType::kF32, DType::kBF16,
                                               DType::kF32}),
                         [](const auto& test) { return test.param.name; });

}  // namespace

}  // namespace wick
