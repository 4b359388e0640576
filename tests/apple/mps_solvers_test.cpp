#include <cmath>

#include "apple/mps_test_support.hpp"

namespace wick::test {
namespace {

using mps::DataType;
using mps::DecompositionStatus;

class MpsSolversTest : public MpsTest {
 protected:
  static constexpr std::uint64_t kOrder = 6, kCount = 3;

  static Host times(const Host& a, const Host& b) {
    Host c{a.rows, b.columns, a.matrices, {}};
    for (std::uint64_t m = 0; m < a.matrices; ++m) {
      for (std::uint64_t i = 0; i < a.rows; ++i) {
        for (std::uint64_t j = 0; j < b.columns; ++j) {
          double sum = 0;
          for (std::uint64_t k = 0; k < a.columns; ++k) sum += a.at(m, i, k) * b.at(m, k, j);
          c.values.push_back(sum);
        }
      }
    }
    return c;
  }
  static Host turned(const Host& a) {
    Host t{a.columns, a.rows, a.matrices, std::vector<double>(a.values.size())};
    for (std::uint64_t m = 0; m < a.matrices; ++m) {
      for (std::uint64_t i = 0; i < a.rows; ++i) {
        for (std::uint64_t j = 0; j < a.columns; ++j) t.at(m, j, i) = a.at(m, i, j);
      }
    }
    return t;
  }
  static Host positive_definite(std::uint64_t matrices) {
    const Host a = random(kOrder, kOrder, 3, matrices);
    Host p = times(a, turned(a));
    for (std::uint64_t m = 0; m < matrices; ++m) {
      for (std::uint64_t i = 0; i < kOrder; ++i) p.at(m, i, i) += 1;
    }
    return p;
  }
  static std::int32_t status_of(const metal::Buffer& buffer) {
    return download<std::int32_t>(buffer, 1)[0];
  }
  mps::Matrix pivots(std::uint64_t matrices = 1) const {
    return make_empty(
        {.rows = 1, .columns = kOrder, .type = DataType::kUInt32, .matrices = matrices});
  }
};

TEST_F(MpsSolversTest, SystemsByLuInBatches) {
  const Host a = random(kOrder, kOrder, 1, 3), x = random(kOrder, kCount, 2, 3);
  for (const bool transpose : {false, true}) {
    const mps::Matrix source = make(a), at = pivots(3);
    const mps::Matrix b = make(times(transpose ? turned(a) : a, x));
    const mps::Matrix solution = make_empty({.rows = kOrder, .columns = kCount, .matrices = 3});
    const mps::MatrixDecompositionLU factor(device(), kOrder, kOrder);
    const mps::MatrixSolveLU solve(device(), kOrder, kCount, transpose);
    const softmetal::Counters before = softmetal::counters();
    run([&](metal::CommandBuffer& buffer) {
      factor.encode(buffer, source, source, at);
      solve.encode(buffer, source, b, at, solution);
    });
    EXPECT_EQ(softmetal::counters().mps_encodes - before.mps_encodes, 6u) << "one by one";
    expect_near(values_of(solution), x.values, 1e-3);
  }
}

TEST_F(MpsSolversTest, SystemsByCholesky) {
  const Host a = positive_definite(2), x = random(kOrder, kCount, 2, 2);
  for (const bool lower : {false, true}) {
    const mps::Matrix source = make(a), b = make(times(a, x));
    const mps::Matrix factor = make_empty({.rows = kOrder, .columns = kOrder, .matrices = 2});
    const mps::Matrix solution = make_empty({.rows = kOrder, .columns = kCount, .matrices = 2});
    const mps::MatrixDecompositionCholesky decompose(device(), lower, kOrder);
    const mps::MatrixSolveCholesky solve(device(), !lower, kOrder, kCount);
    run([&](metal::CommandBuffer& buffer) {
      decompose.encode(buffer, source, factor);
      solve.encode(buffer, factor, b, solution);
    });
    expect_near(values_of(solution), x.values, 1e-3);
    EXPECT_TRUE(std::isnan(values_of(factor)[lower ? 1 : kOrder])) << "the other triangle";
  }
}

TEST_F(MpsSolversTest, EveryTriangle) {
  for (int choice = 0; choice < 16; ++choice) {
    const bool right = choice & 1, upper = choice & 2, transpose = choice & 4, unit = choice & 8;
    Host a = random(kOrder, kOrder, 1);
    for (std::uint64_t i = 0; i < kOrder; ++i) a.at(0, i, i) += 3;
    Host triangle = a;
    for (std::uint64_t i = 0; i < kOrder; ++i) {
      for (std::uint64_t j = 0; j < kOrder; ++j) {
        if (upper ? j < i : j > i) triangle.at(0, i, j) = 0;
        if (unit && i == j) triangle.at(0, i, j) = 1;
      }
    }
    const Host op = transpose ? turned(triangle) : triangle;
    const Host x = right ? random(kCount, kOrder, 2) : random(kOrder, kCount, 2);
    Host b = right ? times(x, op) : times(op, x);
    for (double& value : b.values) value /= 2;
    const mps::Matrix source = make(a), in = make(b);
    const mps::Matrix solution = make_empty({.rows = x.rows, .columns = x.columns});
    const mps::MatrixSolveTriangular solve(
        device(), kOrder, kCount,
        {.right = right, .upper = upper, .transpose = transpose, .unit = unit, .alpha = 2});
    run([&](metal::CommandBuffer& buffer) { solve.encode(buffer, source, in, solution); });
    SCOPED_TRACE(choice);
    expect_near(values_of(solution), x.values, 1e-3);
  }
}

TEST_F(MpsSolversTest, TheStatusSaysWhatFailed) {
  const metal::Buffer status = device().buffer(4);
  const Host zero{kOrder, kOrder, 1, std::vector<double>(kOrder * kOrder)};
  const mps::Matrix source = make(zero), result = make(zero), at = pivots();
  const mps::MatrixDecompositionLU lu(device(), kOrder, kOrder);
  const mps::MatrixDecompositionCholesky cholesky(device(), true, kOrder);
  run([&](metal::CommandBuffer& buffer) { lu.encode(buffer, source, result, at, &status); });
  EXPECT_EQ(status_of(status), static_cast<std::int32_t>(DecompositionStatus::kSingular));
  run([&](metal::CommandBuffer& buffer) { cholesky.encode(buffer, source, result, &status); });
  EXPECT_EQ(status_of(status),
            static_cast<std::int32_t>(DecompositionStatus::kNotPositiveDefinite));
  const mps::Matrix good = make(positive_definite(1));
  run([&](metal::CommandBuffer& buffer) { cholesky.encode(buffer, good, result, &status); });
  EXPECT_EQ(status_of(status), static_cast<std::int32_t>(DecompositionStatus::kSuccess));
}

TEST_F(MpsSolversTest, WhatIsRefused) {
  const Host a = positive_definite(2);
  const mps::Matrix source = make(a), half = make(a, DataType::kFloat16), at = pivots(2);
  const mps::Matrix result = make_empty({.rows = kOrder, .columns = kOrder, .matrices = 2});
  const metal::Buffer status = device().buffer(4), tiny = device().buffer(2);
  const mps::MatrixDecompositionLU lu(device(), kOrder, kOrder);
  const mps::MatrixSolveTriangular solve(device(), kOrder, kOrder);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  constexpr std::string_view kLu = "mps.matrix_decomposition_lu";
  expect_refused(error_of([&] { lu.encode(buffer, half, result, at); }), kLu,
                 "the source must be Float32; it is Float16");
  expect_refused(error_of([&] { lu.encode(buffer, source, result, result); }), kLu,
                 "the pivots must be UInt32");
  expect_refused(error_of([&] { lu.encode(buffer, source, result, at, &status); }), kLu,
                 "a status is for one matrix; the batch has 2");
  expect_refused(error_of([&] { lu.encode(buffer, source, result, at, &tiny, {0, 1}); }), kLu,
                 "at least 4 bytes; it has 2");
  expect_refused(error_of([&] { solve.encode(buffer, source, result, result); }),
                 "mps.matrix_solve_triangular", "must not overlap");
  expect_refused(error_of([&] { mps::MatrixSolveTriangular(device(), 0, 1); }),
                 "mps.matrix_solve_triangular", "the order must be at least 1; got 0");
}

}  // namespace
}  // namespace wick::test
