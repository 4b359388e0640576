#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "apple/mps_test_support.hpp"

// Rules of ours that Metal and MPS have no word for: they would compute something else, wait without end, or do nothing.
// Each test says which.

namespace wick::test {
namespace {

using apple::mps::DataType;
using MpsRefusalsTest = MpsTest;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// As an unsigned number it would be a wait of many years.
TEST_F(MpsRefusalsTest, ATimeToWaitIsNotNegative) {
  const metal::SharedEvent event = device().shared_event();
  expect_refused(error_of([&] { event.wait(1, std::chrono::milliseconds(-1)); }), "metal.wait",
                 "must not be negative");
}

// Metal takes any value, and who waits for one between the two would never be woken.
TEST_F(MpsRefusalsTest, TheValueOfAnEventGrows) {
  metal::SharedEvent event = device().shared_event();
  event.signal(10);
  expect_refused(error_of([&] { event.signal(9); }), "metal.signal", "it is 10, got 9");
}

// An empty batch is nothing to do for MPS.
TEST_F(MpsRefusalsTest, ABatchIsNotEmpty) {
  const mps::Matrix a = make(random(2, 2, 1)), b = make(random(2, 2, 2));
  metal::CommandBuffer buffer = device().queue().command_buffer();
  expect_refused(
      error_of([&] { mps::MatrixSoftMax(device()).encode(buffer, a, b, {.batch = {0, 0}}); }),
      "mps.matrix_softmax", "must not be empty");
}

// One that nobody reads is nothing but memory.
TEST_F(MpsRefusalsTest, ATemporaryIsRead) {
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::MatrixDescriptor square({.rows = 2, .columns = 2});
  expect_refused(error_of([&] { mps::TemporaryMatrix(buffer, square, 0); }), "mps.temporary_matrix",
                 "got 0 reads");
}

// MPS makes such a factor the nearest number of the result's type, or fills the result with NaN.
TEST_F(MpsRefusalsTest, FactorsAreNumbersOfTheResult) {
  const auto not_finite = [](std::string_view op, auto call) {
    expect_refused(error_of(call), op, "must be finite; got ");
  };
  for (const double wrong : {kInfinity, -kInfinity, std::nan("")}) {
    const mps::MultiplicationOptions alpha{.alpha = wrong}, beta{.beta = wrong};
    not_finite("mps.matrix_multiplication",
               [&] { mps::MatrixMultiplication(device(), 1, 1, 1, alpha); });
    not_finite("mps.matrix_multiplication",
               [&] { mps::MatrixMultiplication(device(), 1, 1, 1, beta); });
    const mps::VectorMultiplicationOptions of_vector{.alpha = wrong}, plus_vector{.beta = wrong};
    not_finite("mps.matrix_vector_multiplication",
               [&] { mps::MatrixVectorMultiplication(device(), 1, 1, of_vector); });
    not_finite("mps.matrix_vector_multiplication",
               [&] { mps::MatrixVectorMultiplication(device(), 1, 1, plus_vector); });
    not_finite("mps.ndarray_matrix_multiplication",
               [&] { mps::NDArrayMatrixMultiplication(device(), wrong, 1); });
    not_finite("mps.ndarray_matrix_multiplication",
               [&] { mps::NDArrayMatrixMultiplication(device(), 1, wrong); });
    not_finite("mps.matrix_neuron", [&] { mps::MatrixNeuron(device(), mps::Neuron{}, wrong); });
    not_finite("mps.matrix_fully_connected",
               [&] { mps::MatrixFullyConnected(device(), {}, wrong); });
    expect_refused(error_of([&] { mps::MatrixSolveTriangular(device(), 1, 1, {.alpha = wrong}); }),
                   "mps.matrix_solve_triangular", "alpha must be a number that Float32 holds");
  }
}

TEST_F(MpsRefusalsTest, FactorsThatTheResultDoesNotHold) {
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const auto refused = [](std::string_view op, std::string_view name, auto call) {
    expect_refused(error_of(call), op, std::string(name) + " must be a number that Float16 holds");
  };
  const Host h = random(2, 2, 1);
  const mps::Matrix a = make(h, DataType::kFloat16), b = make(h, DataType::kFloat16);
  const mps::Matrix c = make_empty({.rows = 2, .columns = 2, .type = DataType::kFloat16});
  const mps::Vector x = make_vector({1, 2}, DataType::kFloat16);
  const mps::Vector y = make_vector({1, 2}, DataType::kFloat16);
  const mps::NDArrayDescriptor square({.shape = {2, 2}, .type = DataType::kFloat16});
  const mps::NDArray left(device(), square), right(device(), square), result(device(), square);
  for (const bool is_alpha : {true, false}) {
    const std::string_view name = is_alpha ? "alpha" : "beta";
    const double alpha = is_alpha ? 65505 : 1, beta = is_alpha ? 0 : -65505;
    const mps::MatrixMultiplication product(device(), 2, 2, 2, {.alpha = alpha, .beta = beta});
    refused("mps.matrix_multiplication", name, [&] { product.encode(buffer, a, b, c); });
    const mps::MatrixVectorMultiplication of_vector(device(), 2, 2, {.alpha = alpha, .beta = beta});
    refused("mps.matrix_vector_multiplication", name, [&] { of_vector.encode(buffer, a, x, y); });
    const mps::NDArrayMatrixMultiplication of_arrays(device(), alpha, beta);
    refused("mps.ndarray_matrix_multiplication", name,
            [&] { of_arrays.encode(buffer, left, right, result); });
  }
  const mps::MatrixSum sum(device(), 1, 2, 2);
  const mps::Summand one{.matrix = a, .scale = std::numeric_limits<float>::infinity()};
  expect_refused(error_of([&] { sum.encode(buffer, {&one, 1}, nullptr, c); }), "mps.matrix_sum",
                 "a scale must be a number that Float32 holds");
}

// MPS would read its bits as those of the result's type, and no more of a longer one than it needs.
TEST_F(MpsRefusalsTest, ABiasIsOfTheResult) {
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::Matrix in = make(random(2, 3, 1)), out = make_empty({.rows = 2, .columns = 3});
  const mps::MatrixNeuron neuron(device(), mps::Neuron{});
  const auto refused = [&](const mps::Vector& bias, std::string_view part) {
    expect_refused(error_of([&] { neuron.encode(buffer, in, &bias, out); }), "mps.matrix_neuron",
                   part);
  };
  refused(make_vector({1, 2, 3}, DataType::kFloat16), "the bias and the result must have one type");
  refused(make_vector({1, 2, 3, 4}), "one vector of 3; it has 1 of 4");
  const mps::VectorDescriptor two({.length = 3, .vectors = 2});
  refused({device().buffer(two.bytes()), two}, "one vector of 3; it has 2 of 3");
}

// Without slopes MPS would keep the neuron that it had.
TEST_F(MpsRefusalsTest, NeuronsNeedASlope) {
  expect_refused(error_of([&] { mps::MatrixNeuron(device(), std::span<const float>()); }),
                 "mps.matrix_neuron", "a slope for each column; got none");
}

// MPS makes a layer of as many inputs as both have.
TEST_F(MpsRefusalsTest, WeightsHaveARowForEachInput) {
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::Matrix in = make(random(2, 5, 1)), weights = make(random(4, 3, 2));
  const mps::Matrix out = make_empty({.rows = 2, .columns = 3});
  expect_refused(error_of([&] {
                   mps::MatrixFullyConnected(device()).encode(buffer, in, weights, nullptr, out);
                 }),
                 "mps.matrix_fully_connected", "the input has 5 columns, but the weights 4 rows");
}

// The limits are ours.
TEST_F(MpsRefusalsTest, ProductsAreCutByLimitsThatAreNotZero) {
  expect_refused(error_of([] { mps::cut_product(1, 1, 1, 0); }), "mps.cut_product", "at least 1");
  expect_refused(error_of([] { mps::cut_product(1, 1, 1, 4, {.dimension = 0}); }),
                 "mps.cut_product", "at least 1");
  expect_refused(error_of([] { mps::cut_product(0, 1, 1, 4); }), "mps.cut_product",
                 "got 0, 1 and 1");
}

// MPS has 32 bits for the origin of a copy or a summand, and would see what is left of it.
TEST_F(MpsRefusalsTest, RowsAndColumnsFit32Bits) {
  constexpr std::uint64_t kTooMany = std::uint64_t{1} << 32;
  const auto described = [](std::uint64_t rows, std::uint64_t columns) {
    return error_of([&] {
      mps::MatrixDescriptor({.rows = rows, .columns = columns, .type = DataType::kUInt8});
    });
  };
  expect_refused(described(kTooMany, 1), "mps.matrix_descriptor",
                 "below 2^32; got 4294967296 and 1");
  expect_refused(described(1, kTooMany), "mps.matrix_descriptor", "got 1 and 4294967296");
  const mps::MatrixDescriptor largest(
      {.rows = kTooMany - 1, .columns = 1, .type = DataType::kUInt8});
  EXPECT_EQ(largest.bytes(), kTooMany - 1);
}

// No buffer holds what 64 bits do not count.
TEST_F(MpsRefusalsTest, SizesFit64Bits) {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;
  const auto refused = [](std::string_view op, auto call) {
    expect_refused(error_of(call), op, "more bytes than there can be");
  };
  refused("mps.matrix_descriptor",
          [] { mps::MatrixDescriptor({.rows = 4, .columns = 1, .row_bytes = kHuge}); });
  refused("mps.matrix_descriptor", [] {
    mps::MatrixDescriptor({.rows = 1, .columns = 1, .matrices = 4, .matrix_bytes = kHuge});
  });
  refused("mps.vector_descriptor", [] { mps::VectorDescriptor({.length = kHuge}); });
  refused("mps.recommended_row_bytes",
          [] { mps::MatrixDescriptor::recommended_row_bytes(kHuge, DataType::kFloat32); });
}

// MPS would write the status of one matrix over that of the one before.
TEST_F(MpsRefusalsTest, AStatusIsForOneMatrix) {
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::Matrix source = make(random(2, 2, 1, 2));
  const metal::Buffer status = device().buffer(4);
  const mps::MatrixDecompositionCholesky cholesky(device(), true, 2);
  expect_refused(error_of([&] { cholesky.encode(buffer, source, source, &status); }),
                 "mps.matrix_decomposition_cholesky",
                 "a status is for one matrix; the batch has 2");
}

// MPS would make numbers of it that are none of that distribution.
TEST_F(MpsRefusalsTest, DistributionsHaveBoundsAndADeviation) {
  using Kind = mps::RandomDistribution::Kind;
  const auto refused = [&](const mps::RandomDistribution& wrong, std::string_view part) {
    expect_refused(error_of([&] {
                     mps::MatrixRandom(device(), mps::MatrixRandom::Generator::kPhilox, 1, wrong);
                   }),
                   "mps.matrix_random", part);
  };
  const float infinite = std::numeric_limits<float>::infinity();
  refused({.minimum = -infinite}, "the minimum must be finite; got -inf");
  refused({.maximum = infinite}, "the maximum must be finite; got inf");
  refused({.minimum = 1, .maximum = 1}, "must be below the maximum; got 1.000000 and 1.000000");
  refused({.kind = Kind::kNormal, .mean = infinite}, "the mean must be finite; got inf");
  refused({.kind = Kind::kNormal, .deviation = infinite}, "the deviation must be finite; got inf");
  refused({.kind = Kind::kNormal, .deviation = 0}, "the deviation must be above 0; got 0");
  refused({.kind = Kind::kTruncatedNormal, .minimum = 2, .maximum = 1},
          "got 2.000000 and 1.000000");
  refused({.kind = Kind{7}}, "is no kind of distribution");
}

// MPS is told no length: it would read or write what lies behind.
TEST_F(MpsRefusalsTest, TheHostHasAllBytesOfAnArray) {
  const mps::NDArray array(device(), mps::NDArrayDescriptor({.shape = {2, 3}}));
  std::vector<std::byte> bytes(23);
  expect_refused(error_of([&] { array.write(bytes); }), "mps.ndarray_write", "24 bytes; got 23");
  expect_refused(error_of([&] { array.read(bytes); }), "mps.ndarray_read", "24 bytes; got 23");
}

}  // namespace
}  // namespace wick::test
