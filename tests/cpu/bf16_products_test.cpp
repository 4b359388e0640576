#include "backends/cpu/bf16_products.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "wick/base/float16.hpp"

namespace wick::cpu {

namespace {

constexpr std::int64_t kGap = 3;  // what rows are apart beyond their length

// A matrix of bf16 in rows or in columns.
struct Matrix {
  Matrix(std::int64_t rows, std::int64_t columns, bool in_columns, std::mt19937& random)
      : stride((in_columns ? rows : columns) + kGap),
        values(static_cast<std::size_t>((in_columns ? columns : rows) * stride)) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (BFloat16& value : values) value = BFloat16(uniform(random));
    operand = {.data = values.data(),
               .dtype = DType::kBF16,
               .row_stride = in_columns ? 1 : stride,
               .column_stride = in_columns ? stride : 1};
  }

  double at(std::int64_t i, std::int64_t j) const {
    const auto index = static_cast<std::size_t>(i * operand.row_stride + j * operand.column_stride);
    return static_cast<double>(static_cast<float>(values[index]));
  }

  std::int64_t stride;
  std::vector<BFloat16> values;
  Operand operand;
};

// c [M,N] after add_bf16(), rows kGap apart, for columns [first, last) of b.
std::vector<float> product(const Matrix& a, const Matrix& b, std::int64_t M, std::int64_t N,
                           std::int64_t K, float alpha, bool accumulate, std::int64_t first,
                           std::int64_t last, Bf16Unit unit) {
  Operand columns = b.operand;
  columns.data = b.values.data() + first * b.operand.column_stride;
  std::vector<BFloat16> strips(static_cast<std::size_t>(bf16_strips(K, last - first)));
  pack_bf16_columns(columns, K, last - first, strips.data());
  std::vector<float> c(static_cast<std::size_t>(M * (N + kGap)), 0.5F);
  add_bf16({.unit = unit,
            .M = M,
            .N = last - first,
            .K = K,
            .alpha = alpha,
            .accumulate = accumulate,
            .a = a.operand,
            .strips = strips.data(),
            .c = c.data() + first,
            .c_stride = N + kGap});
  return c;
}

struct Sizes {
  std::int64_t M, N, K;
};

void check(const Sizes& sizes, bool a_in_columns, bool b_in_columns, float alpha, bool accumulate,
           Bf16Unit unit) {
  const auto [M, N, K] = sizes;
  std::mt19937 random(11);
  const Matrix a(M, K, a_in_columns, random);
  const Matrix b(K, N, b_in_columns, random);
  const auto c = product(a, b, M, N, K, alpha, accumulate, 0, N, unit);
  const std::int64_t middle = N / 2;  // the same in two blocks
  const auto left =
      product(a, b, M, N, K, alpha, accumulate, 0, std::max<std::int64_t>(middle, 1), unit);
  const auto right = product(a, b, M, N, K, alpha, accumulate, middle, N, unit);
  for (std::int64_t i = 0; i < M; ++i) {
    for (std::int64_t j = 0; j < N + kGap; ++j) {
      const auto at = static_cast<std::size_t>(i * (N + kGap) + j);
      if (j >= N) {
        ASSERT_EQ(c[at], 0.5F) << "between the rows";
        continue;
      }
      double sum = 0;
      for (std::int64_t k = 0; k < K; ++k) sum += a.at(i, k) * b.at(k, j);
      ASSERT_NEAR(c[at], static_cast<double>(alpha) * sum + (accumulate ? 0.5 : 0),
                  1e-6 * (8 + static_cast<double>(K)))
          << i << ", " << j;
      ASSERT_EQ(c[at], j < middle ? left[at] : right[at]) << "depends on the block";
    }
  }
}

class Bf16Products : public ::testing::TestWithParam<Bf16Unit> {
 protected:
  void SetUp() override {
    if (!has_bf16_unit(GetParam())) GTEST_SKIP() << "this machine has none";
  }
};
INSTANTIATE_TEST_SUITE_P(Units, Bf16Products, ::testing::Values(Bf16Unit::kAmx, Bf16Unit::kAvx512),
                         [](const auto& unit) {
                           return unit.param == Bf16Unit::kAmx ? "Amx" : "Avx512";
                         });

TEST_P(Bf16Products, EqualsSumsInDoubleWhateverTheBlock) {
  for (const Sizes& sizes : {Sizes{1, 1, 1},
                             {5, 7, 31},
                             {16, 32, 32},
                             {17, 33, 65},
                             {32, 64, 64},
                             {40, 96, 130},
                             {33, 15, kBf16Depth}}) {
    for (const bool a_in_columns : {false, true}) {
      for (const bool b_in_columns : {false, true}) {
        for (const float alpha : {1.0F, -0.75F}) {
          for (const bool accumulate : {false, true}) {
            SCOPED_TRACE(::testing::Message()
                         << sizes.M << "x" << sizes.N << "x" << sizes.K << " " << a_in_columns
                         << b_in_columns << " " << alpha << " " << accumulate);
            check(sizes, a_in_columns, b_in_columns, alpha, accumulate, GetParam());
          }
        }
      }
    }
  }
}

TEST_P(Bf16Products, NotANumberStaysInItsRowAndInfinityIsKept) {
  std::mt19937 random(5);
  Matrix a(3, 40, false, random);
  const Matrix b(40, 4, false, random);
  a.values[static_cast<std::size_t>(a.stride + 39)] = BFloat16(std::nanf(""));
  a.values[static_cast<std::size_t>(2 * a.stride)] = BFloat16(INFINITY);
  const auto c = product(a, b, 3, 4, 40, 1, false, 0, 4, GetParam());
  for (std::size_t j = 0; j < 4; ++j) {
    EXPECT_TRUE(std::isfinite(c[j]));
    EXPECT_TRUE(std::isnan(c[7 + j]));
    EXPECT_TRUE(std::isinf(c[14 + j]));
  }
}

// b = strips + strips_low, written pair by pair where bf16_pair() says, as attention's weights are.
TEST_P(Bf16Products, AddsTwoSetsOfStrips) {
  constexpr std::int64_t M = 48, N = 64, K = 38;
  std::mt19937 random(7);
  const Matrix a(M, K, true, random);
  std::vector<float> b(static_cast<std::size_t>(K * N));
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (float& value : b) value = uniform(random);
  std::vector<BFloat16> high(static_cast<std::size_t>(bf16_strips(K, N))), low(high);
  for (std::int64_t k = 0; k < K; ++k) {
    for (std::int64_t n = 0; n < N; ++n) {
      const auto at = static_cast<std::size_t>(2 * bf16_pair(K, k / 2 * 2, n) + k % 2);
      const float value = b[static_cast<std::size_t>(k * N + n)];
      high[at] = BFloat16(value);
      low[at] = BFloat16(value - static_cast<float>(high[at]));
    }
  }
  std::vector<float> c(static_cast<std::size_t>(M * N), 0.5F);
  add_bf16({.unit = GetParam(),
            .M = M,
            .N = N,
            .K = K,
            .alpha = 1,
            .accumulate = true,
            .a = a.operand,
            .strips = high.data(),
            .strips_low = low.data(),
            .c = c.data(),
            .c_stride = N});
  for (std::int64_t i = 0; i < M; ++i) {
    for (std::int64_t j = 0; j < N; ++j) {
      double sum = 0.5;
      for (std::int64_t k = 0; k < K; ++k) {
        sum += a.at(i, k) * static_cast<double>(b[static_cast<std::size_t>(k * N + j)]);
      }
      // High and low parts alone would be off by 2^-9 and more.
      ASSERT_NEAR(c[static_cast<std::size_t>(i * N + j)], sum, 1e-4) << i << ", " << j;
    }
  }
}

}  // namespace

}  // namespace wick::cpu
