// Products of a few rows with large matrices, as models that generate make them, on every device beside the CPU's in f32.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "harness/check_op.hpp"
#include "wick/ops/lora.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/norm.hpp"
#include "wick/runtime/settings.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

namespace {

Tensor normal(std::uint64_t seed, const Shape& shape, double std) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> draw(0, static_cast<float>(std));
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& value : values) value = draw(rng);
  return Tensor::from_values(values, shape);
}

// Rounded to the dtype, on the device.
Tensor on(Device device, const Tensor& x, DType dtype) { return cast(x, dtype).to(device); }

// The same numbers in f32 on the CPU.
Tensor exact(const Tensor& x) { return cast(x.to(kCpuDevice), DType::kF32); }

void expect_close(const Tensor& got, const Tensor& expected, DType dtype) {
  ASSERT_EQ(got.shape(), expected.shape());
  const std::vector<float> a = exact(got).to_vector<float>();
  const std::vector<float> b = expected.to_vector<float>();
  float largest = 0;
  for (const float value : b) largest = std::max(largest, std::abs(value));
  const double step = dtype == DType::kF32 ? 0x1p-24 : 0x1p-8;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], 2 * step * std::abs(b[i]) + 4e-6 * largest) << i;
  }
}

class FewRows : public ::testing::TestWithParam<Device> {};

// The ways that `device` has for products, and its own choice.
std::vector<std::string> ways_to_try(Device device) {
  std::vector<std::string> ways = {""};
  for (const std::string& way : kernel_variants(device, "matmul")) {
    if (way == "few_rows") ways.push_back(way);
  }
  return ways;
}

// Enough columns that one warp may have a row for itself, or share it with one or three others.
TEST_P(FewRows, MultiplyLargeMatrices) {
  const Device device = GetParam();
  struct Size {
    std::int64_t N, K;
  };
  for (const auto& [N, K] : {Size{17'111, 256},
                             {9'001, 640},
                             {5'003, 2'560},
                             {300, 4'104},
                             {1'203, 11'008},
                             {203, 24'008}}) {
    const Tensor w = normal(1, {N, K}, 0.1);
    const Tensor all_rows = normal(2, {8, K}, 1);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Tensor weight = on(device, w, dtype);
      const Tensor expected =
          matmul(exact(on(device, all_rows, dtype)), exact(weight), {.transpose_b = true});
      for (const std::int64_t M : {1, 2, 3, 4, 7, 8}) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(M) + "x" +
                     std::to_string(N) + "x" + std::to_string(K));
        const Tensor x = on(device, slice(all_rows, 0, 0, M), dtype);
        for (const std::string& way : ways_to_try(device)) {
          SCOPED_TRACE(way);
          force_variant("matmul", way);
          const Tensor got = matmul(x, weight, {.transpose_b = true});
          force_variant("matmul", "");
          expect_close(got, slice(expected, 0, 0, M), dtype);
        }
      }
    }
  }
}

// Layers of one x whose sizes end within a tile of rows, with adapters of odd ranks.
TEST_P(FewRows, MultiplyLayersWithAdapters) {
  const Device device = GetParam();
  constexpr std::int64_t kColumns = 1'048;
  const Tensor all_rows = normal(6, {8, kColumns}, 1);
  struct Layer {
    std::int64_t N, R;
  };
  const std::vector<Layer> sizes{{1'003, 5}, {17, 16}, {300, 33}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    std::vector<LoraOperands> layers;
    std::vector<LoraOperands> reference;
    for (const auto& [N, R] : sizes) {
      const auto seed = static_cast<std::uint64_t>(N);
      const LoraOperands layer{
          .weight = on(device, normal(seed, {N, kColumns}, 0.1), dtype),
          .bias = on(device, normal(seed + 1, {N}, 1), dtype),
          .lora_a = on(device, normal(seed + 2, {R, kColumns}, 0.1), DType::kF32),
          .lora_b = on(device, normal(seed + 3, {N, R}, 0.1), DType::kF32),
          .scale = 0.5};
      layers.push_back(layer);
      reference.push_back({.weight = exact(layer.weight),
                           .bias = exact(layer.bias),
                           .lora_a = exact(layer.lora_a),
                           .lora_b = exact(layer.lora_b),
                           .scale = 0.5});
    }
    for (const std::int64_t M : {1, 2, 3, 5, 8}) {
      const Tensor x = on(device, slice(all_rows, 0, 0, M), dtype);
      const std::vector<Tensor> got = lora_linears(x, layers);
      const std::vector<Tensor> expected = lora_linears(exact(x), reference);
      for (std::size_t i = 0; i < got.size(); ++i) {
        SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(M) + " rows, layer " +
                     std::to_string(i));
        expect_close(got[i], expected[i], dtype);
      }
    }
  }
}

// Blocks that make an adapter's first product together, and leave what they count by as they found it: the same bits in each
// of many launches and replays, on other streams too.
TEST_P(FewRows, MeetAgainAndAgain) {
  const Device device = GetParam();
  const Tensor x = on(device, normal(11, {1, 3'000}, 1), DType::kBF16);
  std::vector<LoraOperands> layers;
  for (const std::int64_t N : {2'003, 300}) {
    const auto seed = static_cast<std::uint64_t>(N);
    layers.push_back({.weight = on(device, normal(seed, {N, 3'000}, 0.1), DType::kBF16),
                      .lora_a = on(device, normal(seed + 1, {16, 3'000}, 0.1), DType::kF32),
                      .lora_b = on(device, normal(seed + 2, {N, 16}, 0.1), DType::kF32),
                      .scale = 2});
  }
  const auto bits_of = [](const std::vector<Tensor>& results) {
    std::vector<float> bits = exact(results[0]).to_vector<float>();
    std::ranges::copy(exact(results[1]).to_vector<float>(), std::back_inserter(bits));
    return bits;
  };
  const std::vector<float> expected = bits_of(lora_linears(x, layers));
  for (int turn = 0; turn < 20; ++turn) {
    ASSERT_EQ(bits_of(lora_linears(x, layers)), expected) << turn;
  }
  const std::shared_ptr<Stream> stream = make_stream(device);
  if (!stream->supports_capture()) return;
  std::vector<Tensor> recorded;
  std::unique_ptr<Graph> graph;
  {
    const StreamGuard guard(stream);
    static_cast<void>(lora_linears(x, layers));
    stream->begin_capture();
    recorded = lora_linears(x, layers);
    graph = stream->end_capture();
  }
  for (const std::shared_ptr<Stream>& other : {stream, make_stream(device)}) {
    for (int turn = 0; turn < 3; ++turn) {
      other->replay(*graph);
      other->synchronize();
      ASSERT_EQ(bits_of(recorded), expected) << turn;
    }
  }
}

// A kernel that begins before the one in front of it is over must not read what that one writes.
TEST_P(FewRows, MultiplyWhatWasJustWritten) {
  const Device device = GetParam();
  constexpr std::int64_t kRows = 5'003;
  constexpr std::int64_t kColumns = 1'024;
  const Tensor x = on(device, normal(3, {2, kColumns}, 1), DType::kBF16);
  const Tensor gain = on(device, normal(4, {kColumns}, 1), DType::kBF16);
  for (std::uint64_t turn = 0; turn < 5; ++turn) {
    SCOPED_TRACE(turn);
    const Tensor rows = on(device, normal(5 + turn, {kRows, kColumns}, 1), DType::kBF16);
    const Tensor weight = rms_norm(rows, gain);
    const Tensor got = matmul(x, weight, {.transpose_b = true});
    const Tensor expected = matmul(exact(x), exact(weight), {.transpose_b = true});
    expect_close(got, expected, DType::kBF16);
  }
}

// One row by gate and up, whose swiglu is made where their results are, and by down.
TEST_P(FewRows, MakeAnMlpOfOneRow) {
  const Device device = GetParam();
  constexpr std::int64_t kN = 3'001 * 8;
  constexpr std::int64_t kK = 1'288;
  const Tensor x = normal(31, {1, kK}, 1);
  struct Layer {
    Tensor weight, bias, a, b;
  };
  const auto layer_of = [&](std::uint64_t seed, std::int64_t N, std::int64_t K, std::int64_t R) {
    return Layer{normal(seed, {N, K}, 0.03), normal(seed + 1, {N}, 0.1),
                 normal(seed + 2, {R, K}, 0.03), normal(seed + 3, {N, R}, 0.1)};
  };
  // The layers of one model may lack an adapter.
  const Layer layers[] = {layer_of(40, kN, kK, 16), layer_of(50, kN, kK, 0),
                          layer_of(60, 24, kN, 8)};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    SCOPED_TRACE(to_string(dtype));
    const auto operands = [&](const Layer& layer, bool is_exact) {
      const auto given = [&](const Tensor& t) {
        const Tensor rounded = on(device, t, dtype);
        return is_exact ? exact(rounded) : rounded;
      };
      return LoraOperands{.weight = given(layer.weight),
                          .bias = given(layer.bias),
                          .lora_a = given(layer.a),
                          .lora_b = given(layer.b),
                          .scale = 0.5};
    };
    const auto mlp = [&](const Tensor& input, bool is_exact) {
      return swiglu_mlp(input, operands(layers[0], is_exact), operands(layers[1], is_exact),
                        operands(layers[2], is_exact));
    };
    const Tensor row = on(device, x, dtype);
    const Tensor got = mlp(row, false);
    const std::vector<float> a = exact(got).to_vector<float>();
    const std::vector<float> b = mlp(exact(row), true).to_vector<float>();
    // gate, up and their swiglu are rounded, each of which moves a sum of kN of them at random.
    const double step = dtype == DType::kF32 ? 0x1p-20 : dtype == DType::kBF16 ? 0x1p-7 : 0x1p-10;
    float largest = 0;
    for (const float value : b) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], step * largest) << i;
    EXPECT_EQ(exact(mlp(row, false)).to_vector<float>(), a);
  }
}

INSTANTIATE_TEST_SUITE_P(, FewRows, ::testing::ValuesIn(testing::computing_devices()),
                         [](const auto& test) { return std::string(to_string(test.param.type)); });

}  // namespace

}  // namespace wick
