#include <gtest/gtest.h>

#include <vector>

#include "apple/mps_test_support.hpp"

// Refusals that no other test comes across.

namespace wick::test {
namespace {

using apple::mps::DataType;
using MpsRefusalsTest = MpsTest;

TEST_F(MpsRefusalsTest, ATimeToWaitIsNotNegative) {
  const metal::SharedEvent event = device().shared_event();
  expect_refused(error_of([&] { event.wait(1, std::chrono::milliseconds(-1)); }), "metal.wait",
                 "must not be negative");
}

TEST_F(MpsRefusalsTest, FunctionConstantsHaveAnIndexOf16Bits) {
  metal::FunctionConstants().set(65535, true);
  expect_refused(error_of([] { metal::FunctionConstants().set(65536, true); }),
                 "metal.function_constant", "at most 65535; got 65536");
}

TEST_F(MpsRefusalsTest, NeuronsNeedASlope) {
  expect_refused(error_of([&] { mps::MatrixNeuron(device(), std::span<const float>()); }),
                 "mps.matrix_neuron", "a slope for each column; got none");
}

TEST_F(MpsRefusalsTest, ProductsAreCutByLimitsThatAreNotZero) {
  expect_refused(error_of([] { mps::cut_product(1, 1, 1, 0); }), "mps.cut_product", "at least 1");
  expect_refused(error_of([] { mps::cut_product(1, 1, 1, 4, {.dimension = 0}); }),
                 "mps.cut_product", "at least 1");
}

// What would read it again finds that its memory is another's.
TEST_F(MpsRefusalsTest, AProductThatIsCutReadsNoTemporary) {
  const mps::Matrix full = make(random(4, 4, 1)), result = make_empty({.rows = 4, .columns = 4});
  const mps::MatrixMultiplication product(device(), 4, 4, 4, {.limits = {.dimension = 2}});
  run([&](metal::CommandBuffer& buffer) {
    const mps::TemporaryMatrix between(buffer, mps::MatrixDescriptor({.rows = 4, .columns = 4}));
    const auto refused = [&](const mps::Matrix& left, const mps::Matrix& right) {
      expect_refused(error_of([&] { product.encode(buffer, left, right, result); }),
                     "mps.matrix_multiplication", "8 parts reads its operands as often");
    };
    refused(between, full);
    refused(full, between);
  });
}

TEST_F(MpsRefusalsTest, ASolverOfABatchReadsNoTemporary) {
  const mps::Matrix known = make(random(2, 1, 1, 2));
  const mps::Matrix solution = make_empty({.rows = 2, .columns = 1, .matrices = 2});
  const mps::MatrixSolveTriangular solver(device(), 2, 1);
  run([&](metal::CommandBuffer& buffer) {
    const mps::TemporaryMatrix source(
        buffer, mps::MatrixDescriptor({.rows = 2, .columns = 2, .matrices = 2}), 2);
    expect_refused(error_of([&] { solver.encode(buffer, source, known, solution); }),
                   "mps.matrix_solve_triangular", "cannot be read for each of 2 matrices");
  });
}

TEST_F(MpsRefusalsTest, ADistributionIsOneOfThree) {
  const mps::RandomDistribution none{.kind = static_cast<mps::RandomDistribution::Kind>(7)};
  const auto make_random = [&] {
    mps::MatrixRandom(device(), mps::MatrixRandom::Generator::kPhilox, 1, none);
  };
  const Error error = error_of(make_random);
  EXPECT_EQ(error.kind(), ErrorKind::kArgument);
  EXPECT_TEXT(error.what(), "is no kind of distribution");
}

TEST_F(MpsRefusalsTest, WhatIsAddedToAProductOfArraysLiesApartFromTheResult) {
  const mps::NDArrayDescriptor square({.shape = {2, 2}});
  const metal::Buffer memory = device().buffer(64);
  const mps::NDArray left(device(), square), right(device(), square);
  const mps::NDArray added(memory, square), result(memory, square, 8);
  const mps::NDArrayMatrixMultiplication product(device(), 1, 1);
  run([&](metal::CommandBuffer& buffer) {
    const auto encode = [&] { product.encode(buffer, left, right, added, result); };
    expect_refused(error_of(encode), "mps.ndarray_matrix_multiplication",
                   "the result overlaps what is added");
  });
}

}  // namespace
}  // namespace wick::test
