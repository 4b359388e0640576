// Products of a few rows with large matrices, as models that generate make them, on every device beside the CPU's in f32.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "harness/check_op.hpp"
#include "wick/ops/lora.hpp"
#include "wick/ops/matmul.hpp"
#include "wick/ops/move.hpp"
#include "wick/ops/norm.hpp"
#include "wick/runtime/settings.hpp"

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
  for (const auto& [N, K] : {Size{17'111, 256}, {9'001, 640}, {5'003, 2'560}, {300, 4'104}}) {
    const Tensor w = normal(1, {N, K}, 0.1);
    const Tensor all_rows = normal(2, {7, K}, 1);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Tensor weight = on(device, w, dtype);
      const Tensor expected =
          matmul(exact(on(device, all_rows, dtype)), exact(weight), {.transpose_b = true});
      for (const std::int64_t M : {1, 2, 3, 4, 7}) {
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

INSTANTIATE_TEST_SUITE_P(, FewRows, ::testing::ValuesIn(testing::computing_devices()),
                         [](const auto& test) { return std::string(to_string(test.param.type)); });

}  // namespace

}  // namespace wick
