#include "backends/cpu/sgemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

namespace wick::cpu {

namespace {

struct Sizes {
  std::int64_t M, N, K;
};
constexpr Sizes kSizes[] = {{1, 1, 1}, {1, 7, 5}, {6, 1, 4}, {3, 5, 2}, {17, 33, 65}, {64, 48, 16}};
constexpr std::int64_t kGap = 3;  // what rows are apart beyond their length

// Element (i, j) of a matrix that lies as `x` says.
double element(const SgemmOperand& x, std::int64_t i, std::int64_t j) {
  return x.data[x.transposed ? j * x.stride + i : i * x.stride + j];
}

std::vector<float> random_values(std::int64_t count, std::mt19937& random) {
  std::uniform_real_distribution<float> values(-1, 1);
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& value : result) value = values(random);
  return result;
}

void check_product(const Sizes& sizes, bool transpose_a, bool transpose_b, float alpha,
                   float beta) {
  const auto [M, N, K] = sizes;
  std::mt19937 random(7);
  const std::int64_t a_stride = (transpose_a ? M : K) + kGap;
  const std::int64_t b_stride = (transpose_b ? K : N) + kGap;
  const std::int64_t c_stride = N + kGap;
  const auto a = random_values((transpose_a ? K : M) * a_stride, random);
  const auto b = random_values((transpose_b ? N : K) * b_stride, random);
  auto c = random_values(M * c_stride, random);
  if (beta == 0) {  // never read
    for (std::int64_t i = 0; i < M * c_stride; ++i) {
      if (i % c_stride < N)
        c[static_cast<std::size_t>(i)] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  const auto before = c;
  const Sgemm product{.M = M,
                      .N = N,
                      .K = K,
                      .alpha = alpha,
                      .a = {a.data(), a_stride, transpose_a},
                      .b = {b.data(), b_stride, transpose_b},
                      .beta = beta,
                      .c = c.data(),
                      .c_stride = c_stride};
  sgemm(product);
  for (std::int64_t i = 0; i < M * c_stride; ++i) {
    const std::int64_t row = i / c_stride;
    const std::int64_t column = i % c_stride;
    const auto at = static_cast<std::size_t>(i);
    if (column >= N) {
      ASSERT_EQ(c[at], before[at]) << "between the rows";
      continue;
    }
    double sum = 0;
    for (std::int64_t k = 0; k < K; ++k)
      sum += element(product.a, row, k) * element(product.b, k, column);
    const double expected = alpha * sum + (beta == 0 ? 0 : beta * before[at]);
    ASSERT_NEAR(c[at], expected, 1e-5 * (1 + std::sqrt(static_cast<double>(K))))
        << row << ", " << column;
  }
}

TEST(Sgemm, EqualsSumsInDouble) {
  for (const Sizes& sizes : kSizes) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const auto& [alpha, beta] : {std::pair{1.0F, 0.0F}, {-0.5F, 1.0F}, {2.0F, 0.25F}}) {
          SCOPED_TRACE(::testing::Message()
                       << sizes.M << "x" << sizes.N << "x" << sizes.K << " " << transpose_a
                       << transpose_b << " " << alpha << " " << beta);
          const SingleThreadedSgemm guard;
          check_product(sizes, transpose_a, transpose_b, alpha, beta);
        }
      }
    }
  }
}

TEST(Sgemm, HasTheNameOfAVariant) {
  EXPECT_TRUE(sgemm_name() == "onednn" || sgemm_name() == "accelerate");
}

}  // namespace

}  // namespace wick::cpu
