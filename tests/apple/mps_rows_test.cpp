#include <algorithm>
#include <cmath>

#include "apple/mps_test_support.hpp"

namespace wick::test {
namespace {

using mps::DataType;

class MpsRowsTest : public MpsTest {
 protected:
  static std::vector<double> softmax(const Host& x, bool log) {
    std::vector<double> y;
    for (std::uint64_t r = 0; r < x.rows * x.matrices; ++r) {
      const double* row = x.values.data() + r * x.columns;
      double sum = 0;
      for (std::uint64_t j = 0; j < x.columns; ++j) sum += std::exp(row[j]);
      for (std::uint64_t j = 0; j < x.columns; ++j) {
        y.push_back(log ? row[j] - std::log(sum) : std::exp(row[j]) / sum);
      }
    }
    return y;
  }
};

TEST_F(MpsRowsTest, SoftMaxAndItsLogarithm) {
  for (const DataType type : {DataType::kFloat32, DataType::kFloat16}) {
    for (const auto kind :
         {mps::MatrixSoftMax::Kind::kSoftMax, mps::MatrixSoftMax::Kind::kLogSoftMax}) {
      const Host x = random(4, 33, 1, 2);
      const mps::Matrix in = make(x, type);
      const mps::Matrix out = make_empty({.rows = 4, .columns = 33, .type = type, .matrices = 2});
      const mps::MatrixSoftMax kernel(device(), kind);
      run([&](metal::CommandBuffer& buffer) {
        kernel.encode(buffer, in, out);
        kernel.encode(buffer, in, in);  // in place
      });
      const auto expected = softmax(x, kind == mps::MatrixSoftMax::Kind::kLogSoftMax);
      expect_near(values_of(out), expected, type == DataType::kFloat32 ? 1e-6 : 1e-3);
      EXPECT_EQ(values_of(in), values_of(out));
    }
  }
}

TEST_F(MpsRowsTest, SoftMaxOfAPart) {
  const Host x = random(4, 6, 1);
  const mps::Matrix in = make(x);
  const mps::Matrix out = make({.rows = 4, .columns = 6}, std::vector<double>(24, 5));
  const mps::MatrixSoftMax kernel(device());
  run([&](metal::CommandBuffer& buffer) {
    kernel.encode(buffer, in, out, {.source = {1, 2}, .result = {2, 1}, .rows = 2, .columns = 3});
  });
  Host part{2, 3, 1, {}};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) part.values.push_back(x.at(0, 1 + i, 2 + j));
  }
  const auto y = softmax(part, false);
  std::vector<double> expected(24, 5);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) expected[(2 + i) * 6 + 1 + j] = y[i * 3 + j];
  }
  expect_near(values_of(out), expected, 1e-6);
}

TEST_F(MpsRowsTest, TheGradientsOfBoth) {
  const Host x = random(3, 7, 1), dy = random(3, 7, 2);
  for (const bool log : {false, true}) {
    const auto kind =
        log ? mps::MatrixSoftMax::Kind::kLogSoftMax : mps::MatrixSoftMax::Kind::kSoftMax;
    const mps::Matrix in = make(x), gradient = make(dy);
    const mps::Matrix y = make_empty({.rows = 3, .columns = 7});
    const mps::Matrix dx = make_empty({.rows = 3, .columns = 7});
    const mps::MatrixSoftMax forward(device(), kind);
    const mps::MatrixSoftMaxGradient backward(device(), kind);
    run([&](metal::CommandBuffer& buffer) {
      forward.encode(buffer, in, y);
      backward.encode(buffer, gradient, y, dx);
    });
    // Central differences of sum(dy * softmax(x)).
    std::vector<double> expected;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      double side[2];
      for (int s = 0; s < 2; ++s) {
        Host moved = x;
        moved.values[i] += s == 0 ? -1e-5 : 1e-5;
        const auto moved_y = softmax(moved, log);
        side[s] = 0;
        for (std::size_t k = 0; k < moved_y.size(); ++k) side[s] += dy.values[k] * moved_y[k];
      }
      expected.push_back((side[1] - side[0]) / 2e-5);
    }
    expect_near(values_of(dx), expected, 1e-5);
  }
}

TEST_F(MpsRowsTest, TheLargestValues) {
  const Host x = random(5, 40, 1);
  const mps::Matrix in = make(x);
  const mps::Matrix indices = make_empty({.rows = 5, .columns = 16, .type = DataType::kUInt32});
  const mps::Matrix values = make_empty({.rows = 5, .columns = 16});
  const mps::MatrixFindTopK kernel(device(), 16);
  run([&](metal::CommandBuffer& buffer) {
    kernel.encode(buffer, in, indices, values, {.source = {0, 3}}, 100);
  });
  const auto at = values_of(indices), best = values_of(values);
  for (int i = 0; i < 5; ++i) {
    std::vector<double> row(x.values.begin() + i * 40 + 3, x.values.begin() + (i + 1) * 40);
    std::sort(row.begin(), row.end(), std::greater<>());
    for (int j = 0; j < 16; ++j) {
      EXPECT_EQ(best[i * 16 + j], row[j]);
      const auto column = static_cast<std::uint64_t>(at[i * 16 + j]) - 100 + 3;
      EXPECT_EQ(x.at(0, i, column), row[j]);
    }
  }
}

TEST_F(MpsRowsTest, WhatIsRefused) {
  const Host x = random(4, 6, 1);
  const mps::Matrix in = make(x), half = make(x, DataType::kFloat16);
  const mps::Matrix small = make_empty({.rows = 4, .columns = 5});
  const mps::Matrix index = make_empty({.rows = 4, .columns = 5, .type = DataType::kUInt32});
  const mps::MatrixSoftMax softmax_kernel(device());
  const mps::MatrixSoftMaxGradient gradient(device());
  const mps::MatrixFindTopK top(device(), 5);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  constexpr std::string_view kSoftMax = "mps.matrix_softmax";
  expect_refused(error_of([&] { softmax_kernel.encode(buffer, in, half); }), kSoftMax,
                 "must have one type; they are Float32 and Float16");
  expect_refused(error_of([&] { softmax_kernel.encode(buffer, index, index); }), kSoftMax,
                 "must be Float32 or Float16; it is UInt32");
  expect_refused(error_of([&] { softmax_kernel.encode(buffer, in, small); }), kSoftMax,
                 "the result is 4x5; the kernel needs 4x6");
  expect_refused(error_of([&] { softmax_kernel.encode(buffer, in, in, {.source = {5, 0}}); }),
                 kSoftMax, "the input is 4x6; the kernel needs 0x6");
  expect_refused(error_of([&] {
                   softmax_kernel.encode(buffer, in, in,
                                         {.source = {0, 0}, .result = {1, 0}, .rows = 3});
                 }),
                 kSoftMax, "must not overlap");
  expect_refused(error_of([&] { gradient.encode(buffer, in, in, in); }),
                 "mps.matrix_softmax_gradient", "must not overlap");
  expect_refused(error_of([&] { top.encode(buffer, in, small, small); }), "mps.matrix_find_top_k",
                 "the indices must be UInt32; it is Float32");
  expect_refused(error_of([&] { top.encode(buffer, in, index, small, {.columns = 4}); }),
                 "mps.matrix_find_top_k", "the largest 5 of 4 columns");
  expect_refused(error_of([&] { mps::MatrixFindTopK(device(), 17); }), "mps.matrix_find_top_k",
                 "1 to 16; got 17");
}

}  // namespace
}  // namespace wick::test
