// Kernels in which threads work together, at sizes of several tiles and simdgroups, which case lists keep away from: their
// results are those of the CPU, and the same bits in whatever order lanes, simdgroups and threadgroups run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "softmetal/softmetal.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/attention.hpp"
#include "wick/ops/cross_entropy.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/norm.hpp"
#include "wick/ops/softmax.hpp"

namespace wick {

namespace {

constexpr Device kMps{DeviceType::kMps, 0};

using Values = std::vector<float>;
using Function = std::function<Tensor(const std::vector<Tensor>&)>;

struct Operand {
  Shape shape;
  DType dtype = DType::kF32;
};

Values draw(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> normal;
  Values values(static_cast<std::size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return normal(rng); });
  return values;
}

Values as_floats(const Tensor& tensor) {
  return tensor.dtype() == DType::kF32 ? tensor.to_vector<float>()
                                       : cast(tensor, DType::kF32).to_vector<float>();
}

// The result and the gradient of each operand, for one random cotangent.
std::vector<Values> results(const std::vector<Operand>& operands, const Function& f,
                            Device device) {
  std::vector<Tensor> inputs;
  for (const Operand& operand : operands) {
    const Values values = draw(operand.shape.numel(), inputs.size() + 1);
    Tensor input = cast(Tensor::from_values(values, operand.shape), operand.dtype).to(device);
    input.set_requires_grad(true);
    inputs.push_back(input);
  }
  const Tensor out = f(inputs);
  const Values cotangent = draw(out.numel(), 99);
  backward(out, cast(Tensor::from_values(cotangent, out.shape()), out.dtype()).to(device));
  std::vector<Values> all{as_floats(out.detach())};
  for (const Tensor& input : inputs) all.push_back(as_floats(input.grad()));
  return all;
}

// `rounding` of the largest magnitude may be lost.
void expect_near(const Values& got, const Values& expected, float rounding, std::size_t which) {
  ASSERT_EQ(got.size(), expected.size());
  float largest = 0;
  for (const float x : expected) largest = std::max(largest, std::abs(x));
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(std::abs(got[i] - expected[i]) <= rounding * largest)
        << "result " << which << ", element " << i << " is " << got[i] << ", not " << expected[i];
  }
}

void check(const std::vector<Operand>& operands, const Function& f) {
  const float rounding = operands[0].dtype == DType::kF32 ? 2e-5F : 2e-2F;
  const std::vector<Values> expected = results(operands, f, kCpuDevice);
  softmetal::set_lane_seed(0);
  const std::vector<Values> got = results(operands, f, kMps);
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) expect_near(got[i], expected[i], rounding, i);
  for (const std::uint64_t seed : {1, 20, 300}) {
    softmetal::set_lane_seed(seed);
    EXPECT_EQ(results(operands, f, kMps), got) << "with the threads in order " << seed;
  }
  softmetal::set_lane_seed(0);
}

struct Sizes {
  std::int64_t B, T, S, H, Hkv, Dh;
};

void check_attention(const Sizes& s, const std::function<AttentionOptions(Device)>& options,
                     DType dtype = DType::kF32) {
  const Shape keys{s.B, s.S, s.Hkv, s.Dh};
  check({{{s.B, s.T, s.H, s.Dh}, dtype}, {keys, dtype}, {keys, dtype}},
        [&](const std::vector<Tensor>& in) {
          return attention(in[0], in[1], in[2], options(in[0].device()));
        });
}

// ---- attention

// Heads of two slices, of a chunk that is not full, of grouped queries.
TEST(MpsOrder, CausalAttentionOfSeveralTiles) {
  const auto causal = [](Device) { return AttentionOptions{}; };
  check_attention({2, 37, 37, 4, 2, 160}, causal);
  check_attention({1, 70, 131, 3, 1, 72}, causal);
  check_attention({1, 45, 45, 2, 2, 64}, causal, DType::kBF16);
  check_attention({1, 2, 300, 8, 4, 64}, causal);
}

TEST(MpsOrder, AttentionWithAWindow) {
  check_attention({1, 150, 150, 2, 1, 40}, [](Device) { return AttentionOptions{.window = 33}; });
  check_attention({1, 66, 90, 2, 1, 24},
                  [](Device) { return AttentionOptions{.causal = false, .window = 40}; });
  // Few queries share out their keys: some shares are beyond the window.
  check_attention({1, 3, 700, 4, 2, 20}, [](Device) { return AttentionOptions{.window = 40}; });
}

TEST(MpsOrder, AttentionOfPackedDocumentsAndHiddenKeys) {
  constexpr std::int64_t kB = 2, kS = 140;
  std::vector<std::int32_t> segments;
  std::vector<std::uint8_t> mask;
  for (std::int64_t i = 0; i < kB * kS; ++i) {
    segments.push_back(static_cast<std::int32_t>(i % kS / 41));
    mask.push_back(i % 7 == 3 || (i > kS && i % kS < 64) ? 0 : 1);
  }
  const auto options = [&](bool causal) {
    return [=](Device device) {
      return AttentionOptions{
          .causal = causal,
          .key_mask = cast(Tensor::from_values(mask, {kB, kS}), DType::kBool).to(device),
          .segments = Tensor::from_values(segments, {kB, kS}).to(device)};
    };
  };
  check_attention({kB, kS, kS, 2, 1, 16}, options(true));
  check_attention({kB, 60, kS, 2, 2, 16}, options(false));
}

// ---- rows

// Rows of several simdgroups, of one where the last threadgroup is not full, and such as are too long to be kept.
struct Rows {
  std::int64_t count, length;
};
constexpr Rows kRows[] = {{5, 3001}, {7, 200}, {66, 1500}, {2, 5000}};

TEST(MpsOrder, Softmax) {
  for (const auto& [R, D] : kRows) {
    check({{{R, D}}}, [](const std::vector<Tensor>& in) { return softmax(in[0]); });
    check({{{R, D}}}, [](const std::vector<Tensor>& in) { return log_softmax(in[0]); });
  }
}

TEST(MpsOrder, Norms) {
  for (const auto& [R, D] : kRows) {
    check({{{R, D}}, {{D}}}, [](const std::vector<Tensor>& in) { return rms_norm(in[0], in[1]); });
    check({{{R, D}}, {{D}}, {{D}}},
          [](const std::vector<Tensor>& in) { return layer_norm(in[0], in[1], in[2]); });
  }
}

TEST(MpsOrder, CrossEntropy) {
  for (const auto& [R, V] : kRows) {
    std::vector<std::int32_t> targets;
    for (std::int64_t n = 0; n < R; ++n) {
      targets.push_back(n % 4 == 1 ? -100 : static_cast<std::int32_t>(n * 37 % V));
    }
    check({{{R, V}}}, [&](const std::vector<Tensor>& in) {
      const Tensor t = Tensor::from_values(targets, {in[0].shape()[0]}).to(in[0].device());
      return cross_entropy(in[0], t, {.label_smoothing = 0.1});
    });
  }
}

}  // namespace

}  // namespace wick
