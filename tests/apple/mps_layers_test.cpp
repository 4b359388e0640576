#include <cmath>
#include <functional>

#include "apple/mps_test_support.hpp"

// Activations, fully connected layers, sums, copies and random numbers.

namespace wick::test {
namespace {

using mps::DataType;
using mps::NeuronType;

class MpsLayersTest : public MpsTest {};

TEST_F(MpsLayersTest, EveryNeuron) {
  const std::vector<std::pair<mps::Neuron, std::function<double(double)>>> kAll{
      {{NeuronType::kNone}, [](double x) { return x; }},
      {{NeuronType::kReLU, 0.25f}, [](double x) { return x >= 0 ? x : 0.25 * x; }},
      {{NeuronType::kLinear, 2, 3}, [](double x) { return 2 * x + 3; }},
      {{NeuronType::kSigmoid}, [](double x) { return 1 / (1 + std::exp(-x)); }},
      {{NeuronType::kHardSigmoid, 1, 0.5f},
       [](double x) { return std::min(1.0, std::max(0.0, x + 0.5)); }},
      {{NeuronType::kTanH, 2, 0.5f}, [](double x) { return 2 * std::tanh(0.5 * x); }},
      {{NeuronType::kAbsolute}, [](double x) { return x < 0 ? -x : x; }},
      {{NeuronType::kSoftPlus, 1, 2}, [](double x) { return std::log(1 + std::exp(2 * x)); }},
      {{NeuronType::kSoftSign}, [](double x) { return x < 0 ? x / (1 - x) : x / (1 + x); }},
      {{NeuronType::kELU, 0.5f}, [](double x) { return x >= 0 ? x : 0.5 * (std::exp(x) - 1); }},
      {{NeuronType::kReLUN, 0.1f, 0.5f},
       [](double x) { return std::min(0.5, x >= 0 ? x : 0.1f * x); }},
      {{NeuronType::kPower, 1, 2, 2}, [](double x) { return (x + 2) * (x + 2); }},
      {{NeuronType::kExponential, 1, 0, 2}, [](double x) { return std::exp2(x); }},
      {{NeuronType::kLogarithm, 1, 2, 2}, [](double x) { return std::log2(x + 2); }},
      {{NeuronType::kGeLU}, [](double x) { return x * (1 + std::erf(x * std::sqrt(0.5))) / 2; }},
  };
  const Host x = random(3, 8, 1);
  const std::vector<double> added = random(1, 8, 2).values;
  for (const auto& [neuron, f] : kAll) {
    const mps::Matrix in = make(x), out = make_empty({.rows = 3, .columns = 8});
    const mps::Vector bias = make_vector(added);
    const mps::MatrixNeuron kernel(device(), neuron, 0.5);
    run([&](metal::CommandBuffer& buffer) { kernel.encode(buffer, in, &bias, out); });
    std::vector<double> expected;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      expected.push_back(f(0.5 * x.values[i] + added[i % 8]));
    }
    SCOPED_TRACE(static_cast<int>(neuron.type));
    expect_near(values_of(out), expected, 1e-6);
  }
}

TEST_F(MpsLayersTest, SlopesForEachColumn) {
  const Host x = random(3, 4, 1);
  const std::vector<float> slopes{0, 0.5f, -1, 2};
  const mps::Matrix in = make(x);
  const mps::MatrixNeuron kernel(device(), slopes);
  run([&](metal::CommandBuffer& buffer) { kernel.encode(buffer, in, nullptr, in); });
  std::vector<double> expected;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    expected.push_back(x.values[i] >= 0 ? x.values[i] : slopes[i % 4] * x.values[i]);
  }
  EXPECT_EQ(values_of(in), expected);
  const mps::Matrix narrow = make(random(2, 3, 1));
  metal::CommandBuffer buffer = device().queue().command_buffer();
  expect_refused(error_of([&] { kernel.encode(buffer, narrow, nullptr, narrow); }),
                 "mps.matrix_neuron", "4 slopes for 3 columns");
  expect_refused(
      error_of([&] { mps::MatrixNeuron(device(), mps::Neuron{static_cast<NeuronType>(10)}); }),
      "mps.matrix_neuron", "10 is no NeuronType");
}

TEST_F(MpsLayersTest, AFullyConnectedLayer) {
  const Host x = random(3, 5, 1, 2), w = random(5, 4, 2, 2), bias = random(1, 4, 3);
  const mps::Matrix in = make(x), weights = make(w);
  const mps::Matrix out = make_empty({.rows = 3, .columns = 4, .matrices = 2});
  const mps::Vector added = make_vector(bias.values);
  const mps::MatrixFullyConnected layer(device(), {NeuronType::kReLU, 0.5f}, 2);
  run([&](metal::CommandBuffer& buffer) { layer.encode(buffer, in, weights, &added, out); });
  std::vector<double> expected;
  for (int b = 0; b < 2; ++b) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 4; ++j) {
        double sum = 0;
        for (int k = 0; k < 5; ++k) sum += x.at(b, i, k) * w.at(b, k, j);
        const double y = 2 * sum + bias.values[j];
        expected.push_back(y >= 0 ? y : 0.5 * y);
      }
    }
  }
  expect_near(values_of(out), expected, 1e-6);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  constexpr std::string_view kOp = "mps.matrix_fully_connected";
  expect_refused(error_of([&] { layer.encode(buffer, in, in, nullptr, out); }), kOp,
                 "the result is 3x4; the kernel needs 3x5");
  expect_refused(
      error_of([&] { layer.encode(buffer, in, weights, nullptr, out, {.weights = {1, 0}}); }), kOp,
      "the input has 5 columns, but the weights 4 rows");
  const mps::Vector short_bias = make_vector({1, 2, 3});
  expect_refused(error_of([&] { layer.encode(buffer, in, weights, &short_bias, out); }), kOp,
                 "one vector of 4; it has 1 of 3");
}

TEST_F(MpsLayersTest, SumsOfParts) {
  const Host a = random(4, 5, 1), b = random(3, 3, 2), bias = random(1, 3, 3);
  for (const bool transpose : {false, true}) {
    const std::uint64_t rows = transpose ? 3 : 2, columns = transpose ? 2 : 3;
    std::vector<mps::Summand> summands{{make(a), 0.5f, {1, 2}}, {make(b), -2, {1, 0}}};
    const mps::Matrix out = make_empty({.rows = rows, .columns = columns});
    const mps::Vector added = make_vector({bias.values.begin(), bias.values.begin() + columns});
    const mps::MatrixSum sum(device(), 2, 2, 3, transpose, {NeuronType::kAbsolute});
    run([&](metal::CommandBuffer& buffer) { sum.encode(buffer, summands, &added, out); });
    std::vector<double> expected;
    for (std::uint64_t i = 0; i < rows; ++i) {
      for (std::uint64_t j = 0; j < columns; ++j) {
        const std::uint64_t r = transpose ? j : i, c = transpose ? i : j;
        expected.push_back(
            std::abs(0.5 * a.at(0, 1 + r, 2 + c) - 2 * b.at(0, 1 + r, c) + bias.values[j]));
      }
    }
    expect_near(values_of(out), expected, 1e-6);
    metal::CommandBuffer buffer = device().queue().command_buffer();
    summands[1].origin = {2, 0};
    expect_refused(error_of([&] { sum.encode(buffer, summands, &added, out); }), "mps.matrix_sum",
                   "a summand is 3x3; the kernel needs 2x3 of it from row 2");
    summands.pop_back();
    expect_refused(error_of([&] { sum.encode(buffer, summands, &added, out); }), "mps.matrix_sum",
                   "the sum is of 2 matrices; got 1");
  }
}

TEST_F(MpsLayersTest, CopiesWithAndWithoutTransposes) {
  const Host a = random(4, 6, 1);
  for (int choice = 0; choice < 4; ++choice) {
    const bool from = choice & 1, to = choice & 2;
    const mps::Matrix source = make(a);
    const mps::Matrix out = make({.rows = 6, .columns = 5}, std::vector<double>(30, 7));
    const mps::MatrixCopy copy(device(), 3, 2, from, to);
    const std::vector<mps::CopyOperation> all{{source, out, {1, 2}, {2, 1}}};
    run([&](metal::CommandBuffer& buffer) { copy.encode(buffer, all); });
    std::vector<double> expected(30, 7);
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 2; ++j) {
        const double x = from ? a.at(0, 1 + j, 2 + i) : a.at(0, 1 + i, 2 + j);
        expected[to ? (2 + j) * 5 + 1 + i : (2 + i) * 5 + 1 + j] = x;
      }
    }
    EXPECT_EQ(values_of(out), expected);
  }
  const mps::Matrix one = make(a), other = make(a);
  const mps::MatrixCopy copy(device(), 2, 2);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const auto refused = [&](const std::vector<mps::CopyOperation>& all, std::string_view part) {
    expect_refused(error_of([&] { copy.encode(buffer, all); }), "mps.matrix_copy", part);
  };
  refused({}, "at least 1 copy");
  refused({{one, other, {3, 0}, {}}}, "the source is 4x6");
  refused({{one, one, {0, 0}, {1, 1}}}, "must not overlap");
  refused({{one, other, {}, {}}, {one, other, {}, {1, 1}}}, "must not overlap");
  refused({{one, make(a, DataType::kFloat16), {}, {}}}, "must have one type");
}

TEST_F(MpsLayersTest, CopiesInAnotherOrder) {
  const Host a = random(3, 4, 1);
  const auto indices = [&](const std::vector<double>& order) {
    return make_vector(order, DataType::kUInt32);
  };
  const std::vector<double> row_order{2, 0, 1}, column_order{3, 1, 0, 2};
  for (int choice = 0; choice < 8; ++choice) {
    const bool rows = choice & 1, columns = choice & 2, to = choice & 4;
    const mps::Matrix source = make(a);
    const mps::Matrix out = make({.rows = 5, .columns = 5}, std::vector<double>(25, 7));
    const mps::MatrixCopy copy(device(), 3, 4, false, to);
    mps::CopyPermutation permutation;
    if (rows) permutation.rows = indices(row_order);
    if (columns) permutation.columns = indices(column_order);
    const std::vector<mps::CopyOperation> all{{source, out, {}, {1, 1}}};
    run([&](metal::CommandBuffer& buffer) { copy.encode(buffer, all, permutation); });
    std::vector<double> expected(25, 7);
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 4; ++j) {
        const int r = rows ? static_cast<int>(row_order[i]) : i;
        const int c = columns ? static_cast<int>(column_order[j]) : j;
        expected[to ? (1 + c) * 5 + 1 + r : (1 + r) * 5 + 1 + c] = a.at(0, i, j);
      }
    }
    EXPECT_EQ(values_of(out), expected);
  }
  const mps::Matrix from = make(a), out = make_empty({.rows = 3, .columns = 4});
  const mps::MatrixCopy copy(device(), 3, 4);
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const std::vector<mps::CopyOperation> all{{from, out, {}, {}}};
  const auto refused = [&](const mps::Vector& rows, std::string_view part) {
    expect_refused(error_of([&] { copy.encode(buffer, all, {.rows = rows}); }), "mps.matrix_copy",
                   part);
  };
  refused(make_vector({0, 1, 2}), "the row indices must be UInt32; it is Float32");
  refused(indices({0, 1}), "the row indices is 1x2; the kernel needs 1x3");
  refused({*out.buffer(), mps::VectorDescriptor({.length = 3, .type = DataType::kUInt32})},
          "the destination and the row indices must not overlap");
}

TEST_F(MpsLayersTest, ATruncatedNormalDistributionHasBounds) {
  const mps::RandomDistribution cut{.kind = mps::RandomDistribution::Kind::kTruncatedNormal,
                                    .minimum = 2,
                                    .maximum = 8,
                                    .mean = 3,
                                    .deviation = 2};
  const mps::MatrixRandom random(device(), mps::MatrixRandom::Generator::kPhilox, 5, cut);
  const mps::Matrix out = make_empty({.rows = 64, .columns = 128});
  run([&](metal::CommandBuffer& buffer) { random.encode(buffer, out); });
  double mean = 0;
  int at_minimum = 0;
  for (const double x : values_of(out)) {
    ASSERT_TRUE(x >= 2 && x <= 8);
    at_minimum += x == 2;
    mean += x / (64 * 128);
  }
  EXPECT_LT(at_minimum, 5) << "numbers are drawn again, not moved to the bound";
  // mean + deviation (p(-1/2) - p(5/2)) / (P(5/2) - P(-1/2)) of the standard normal p and P.
  EXPECT_NEAR(mean, 3.9772, 0.1);
  mps::RandomDistribution wrong = cut;
  wrong.maximum = 2;
  expect_refused(error_of([&] {
                   mps::MatrixRandom(device(), mps::MatrixRandom::Generator::kPhilox, 0, wrong);
                 }),
                 "mps.matrix_random", "must be below the maximum");
  wrong = cut;
  wrong.deviation = 0;
  expect_refused(error_of([&] {
                   mps::MatrixRandom(device(), mps::MatrixRandom::Generator::kPhilox, 0, wrong);
                 }),
                 "mps.matrix_random", "deviation must be above 0");
}

TEST_F(MpsLayersTest, RandomNumbersAreDistributedAsTheySay) {
  using Generator = mps::MatrixRandom::Generator;
  for (const Generator generator : {Generator::kPhilox, Generator::kMtgp32}) {
    const auto draw = [&](const mps::MatrixRandom& random) {
      const mps::Matrix first = make_empty({.rows = 64, .columns = 128});
      const mps::Matrix second = make_empty({.rows = 64, .columns = 128});
      run([&](metal::CommandBuffer& buffer) {
        random.encode(buffer, first);
        random.encode(buffer, second);
      });
      EXPECT_NE(values_of(first), values_of(second));
      return values_of(first);
    };
    const mps::RandomDistribution uniform{.minimum = -2, .maximum = 6};
    const auto u = draw(mps::MatrixRandom(device(), generator, 5, uniform));
    EXPECT_EQ(u, draw(mps::MatrixRandom(device(), generator, 5, uniform)));
    EXPECT_NE(u, draw(mps::MatrixRandom(device(), generator, 6, uniform)));
    const auto n = draw(mps::MatrixRandom(
        device(), generator, 7,
        {.kind = mps::RandomDistribution::Kind::kNormal, .mean = 3, .deviation = 2}));
    const auto moments = [](const std::vector<double>& x) {
      double mean = 0, square = 0;
      for (const double v : x) mean += v / static_cast<double>(x.size());
      for (const double v : x) square += (v - mean) * (v - mean) / static_cast<double>(x.size());
      return std::pair(mean, std::sqrt(square));
    };
    EXPECT_NEAR(moments(u).first, 2, 0.15);
    EXPECT_NEAR(moments(u).second, 8 / std::sqrt(12), 0.1);
    EXPECT_NEAR(moments(n).first, 3, 0.15);
    EXPECT_NEAR(moments(n).second, 2, 0.1);
    for (const double x : u) ASSERT_TRUE(x >= -2 && x < 6);
  }
}

TEST_F(MpsLayersTest, RandomBitsOfPhilox) {
  // Known answers of Philox 4x32-10 for counter 0 and key 0.
  const mps::MatrixRandom random(device(), mps::MatrixRandom::Generator::kPhilox, 0);
  const mps::VectorDescriptor bits({.length = 4, .type = DataType::kUInt32});
  const mps::Vector out(device().buffer(16), bits);
  run([&](metal::CommandBuffer& buffer) { random.encode(buffer, out); });
  EXPECT_EQ(values_of(out), (std::vector<double>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  metal::CommandBuffer buffer = device().queue().command_buffer();
  const mps::Vector floats = make_vector({1, 2, 3, 4});
  expect_refused(error_of([&] { random.encode(buffer, floats); }), "mps.matrix_random",
                 "must be UInt32; it is Float32");
  const mps::Vector late(device().buffer(32), bits, 16);
  expect_refused(error_of([&] { random.encode(buffer, late); }), "mps.matrix_random",
                 "got offset 16");
  expect_refused(error_of([&] {
                   mps::MatrixRandom(device(), mps::MatrixRandom::Generator::kPhilox, 0,
                                     {.minimum = 1, .maximum = 1});
                 }),
                 "mps.matrix_random", "must be below the maximum");
}

}  // namespace
}  // namespace wick::test
