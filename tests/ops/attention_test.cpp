// Attention over a long sequence: what the case list cannot show because it keeps its cases small.
// Memory grows with T, not with T · T, and rows far into the sequence are still right. And gradients that do not depend
// on how they were shared out.

#include "wick/ops/attention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "harness/check_op.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/base/error.hpp"
#include "wick/ops/move.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/settings.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

namespace {

constexpr std::int64_t kT = 8192;
constexpr std::int64_t kH = 4;
constexpr std::int64_t kDh = 64;
constexpr std::int64_t kTensorBytes = kT * kH * kDh * 4;

// The Dh elements of head h at position t.
using Row = std::vector<double>;

double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (std::size_t d = 0; d < a.size(); ++d) sum += a[d] * b[d];
  return sum;
}

void add_scaled(Row& to, double factor, const Row& from) {
  for (std::size_t d = 0; d < to.size(); ++d) to[d] += factor * from[d];
}

Row row_of(const std::vector<float>& values, std::int64_t t, std::int64_t h) {
  const auto first = values.begin() + (t * kH + h) * kDh;
  return {first, first + kDh};
}

// One causal forward and backward pass over random tensors, made once for all tests.
class LongAttention : public ::testing::Test {
 protected:
  struct Pass {
    std::vector<float> q, k, v, dout, out, dq, dk, dv;
    std::int64_t peak_bytes = 0;  // above what lived before q, k and v
  };

  // What one query's row gives, in double: p over the keys it sees, dp and Σ p dp.
  struct QueryRow {
    Row p, dp, out, dq;
    double delta = 0;
  };

  static void SetUpTestSuite() {
    Pass& made = pass();
    std::mt19937_64 rng(8192);
    const auto draw = [&](std::vector<float>& values) {
      std::normal_distribution<float> normal;
      values.resize(static_cast<std::size_t>(kT * kH * kDh));
      std::generate(values.begin(), values.end(), [&] { return normal(rng); });
    };
    for (auto* values : {&made.q, &made.k, &made.v, &made.dout}) draw(*values);
    run(made);
  }

  static void TearDownTestSuite() { pass() = Pass(); }

  static Pass& pass() {
    static Pass instance;
    return instance;
  }

  static void run(Pass& made) {
    const Shape shape = {1, kT, kH, kDh};
    const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
    reset_peak_memory(kCpuDevice);
    const Tensor q = Tensor::from_values(made.q, shape).set_requires_grad(true);
    const Tensor k = Tensor::from_values(made.k, shape).set_requires_grad(true);
    const Tensor v = Tensor::from_values(made.v, shape).set_requires_grad(true);
    const Tensor out = attention(q, k, v);
    backward(out, Tensor::from_values(made.dout, shape));
    synchronize(kCpuDevice);
    made.peak_bytes = memory_stats(kCpuDevice).peak_bytes - before;
    made.out = out.to_vector<float>();
    made.dq = q.grad().to_vector<float>();
    made.dk = k.grad().to_vector<float>();
    made.dv = v.grad().to_vector<float>();
  }

  static QueryRow query_row(std::int64_t t, std::int64_t h) {
    const double scale = 1 / std::sqrt(static_cast<double>(kDh));
    const Row q = row_of(pass().q, t, h);
    const Row dout = row_of(pass().dout, t, h);
    QueryRow row;
    double max = -HUGE_VAL;
    for (std::int64_t s = 0; s <= t; ++s) {
      row.p.push_back(scale * dot(q, row_of(pass().k, s, h)));
      row.dp.push_back(dot(dout, row_of(pass().v, s, h)));
      max = std::max(max, row.p.back());
    }
    double sum = 0;
    for (double& p : row.p) sum += p = std::exp(p - max);
    for (double& p : row.p) p /= sum;
    row.delta = dot(row.p, row.dp);
    row.out.resize(static_cast<std::size_t>(kDh));
    row.dq.resize(static_cast<std::size_t>(kDh));
    for (std::int64_t s = 0; s <= t; ++s) {
      const auto at = static_cast<std::size_t>(s);
      add_scaled(row.out, row.p[at], row_of(pass().v, s, h));
      add_scaled(row.dq, scale * row.p[at] * (row.dp[at] - row.delta), row_of(pass().k, s, h));
    }
    return row;
  }

  // Sums of up to 8192 terms in f32; a term of a gradient is (dp − Σ p dp) ≈ √Dh times as large.
  static void expect_close(const Row& got, const Row& expected) {
    double largest = 0;
    for (const double value : expected) largest = std::max(largest, std::abs(value));
    EXPECT_GT(largest, 0);
    for (std::size_t d = 0; d < got.size(); ++d) {
      EXPECT_NEAR(got[d], expected[d], 2e-5 * largest + 1e-7) << "element " << d;
    }
  }
};

TEST_F(LongAttention, PeakMemoryGrowsWithTheLengthOnly) {
  constexpr std::int64_t kEight = 8 * kTensorBytes;  // q, k, v, out and their gradients
  constexpr std::int64_t kScoresOfOneHead = kT * kT * 4;
  EXPECT_GE(pass().peak_bytes, kEight);
  EXPECT_LE(pass().peak_bytes, 2 * kEight);
  EXPECT_LT(pass().peak_bytes - kEight, kScoresOfOneHead / 4);
}

TEST_F(LongAttention, SampledRowsOfOutAreRight) {
  for (const std::int64_t t : {0, 1, 63, 64, 1000, 4095, 4096, 8191}) {
    for (std::int64_t h = 0; h < kH; ++h) {
      SCOPED_TRACE(::testing::Message() << "t " << t << ", h " << h);
      expect_close(row_of(pass().out, t, h), query_row(t, h).out);
    }
  }
}

TEST_F(LongAttention, SampledRowsOfTheGradientOfQAreRight) {
  for (const std::int64_t t : {1, 64, 1000, 4096, 8191}) {
    for (std::int64_t h = 0; h < kH; ++h) {
      SCOPED_TRACE(::testing::Message() << "t " << t << ", h " << h);
      expect_close(row_of(pass().dq, t, h), query_row(t, h).dq);
    }
  }
}

// The last keys, which few queries see.
TEST_F(LongAttention, LastRowsOfTheGradientsOfKAndVAreRight) {
  const double scale = 1 / std::sqrt(static_cast<double>(kDh));
  for (const std::int64_t s : {kT - 5, kT - 1}) {
    for (std::int64_t h = 0; h < kH; ++h) {
      SCOPED_TRACE(::testing::Message() << "s " << s << ", h " << h);
      Row dk(static_cast<std::size_t>(kDh));
      Row dv = dk;
      for (std::int64_t t = s; t < kT; ++t) {
        const QueryRow row = query_row(t, h);
        const auto at = static_cast<std::size_t>(s);
        add_scaled(dk, scale * row.p[at] * (row.dp[at] - row.delta), row_of(pass().q, t, h));
        add_scaled(dv, row.p[at], row_of(pass().dout, t, h));
      }
      expect_close(row_of(pass().dk, s, h), dk);
      expect_close(row_of(pass().dv, s, h), dv);
    }
  }
}

struct Gradients {
  std::vector<float> dq, dk, dv;
};

// Of two key heads with three query heads each, a causal window, and tiles that are not full, one of two rows.
Gradients gradients_of(int threads) {
  constexpr std::int64_t kQueries = 150, kKeys = 210, kDepth = 40;
  set_num_threads(threads);
  std::mt19937_64 rng(150);
  const auto draw = [&](const Shape& shape) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(shape.numel()));
    std::generate(values.begin(), values.end(), [&] { return normal(rng); });
    return Tensor::from_values(values, shape);
  };
  const Tensor q = draw({1, kQueries, 6, kDepth}).set_requires_grad(true);
  const Tensor k = draw({1, kKeys, 2, kDepth}).set_requires_grad(true);
  const Tensor v = draw({1, kKeys, 2, kDepth}).set_requires_grad(true);
  const Tensor out = attention(q, k, v, {.window = 100});
  backward(out, draw(out.shape()));
  return {q.grad().to_vector<float>(), k.grad().to_vector<float>(), v.grad().to_vector<float>()};
}

// Two threads share the key heads; of seven most would have none.
TEST(AttentionGradients, TheSameFromWholeHeadsAsFromTiles) {
  const int before = num_threads();
  const Gradients of_heads = gradients_of(2), of_tiles = gradients_of(7);
  set_num_threads(before);
  EXPECT_EQ(of_heads.dq, of_tiles.dq);
  EXPECT_EQ(of_heads.dk, of_tiles.dk);
  EXPECT_EQ(of_heads.dv, of_tiles.dv);
}

// Gradients whose scores are too many for one piece of a GPU's memory are made part by part.
class ManyScores : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override { force_variant("attention", "cudnn"); }
  void TearDown() override { force_variant("attention", ""); }

  struct Sizes {
    std::int64_t B, T, H, Hkv;
  };

  // What backward gives for the rows [B,T,H + 2 Hkv,Dh] of q, k and v, in f32.
  static std::vector<float> gradient(const Sizes& sizes, const Tensor& rows, const Tensor& dout,
                                     std::int64_t window) {
    const auto& [B, T, H, Hkv] = sizes;
    const Tensor leaf = rows.detach().set_requires_grad(true);
    const Tensor out =
        attention(slice(leaf, 2, 0, H), slice(leaf, 2, H, H + Hkv),
                  slice(leaf, 2, H + Hkv, H + 2 * Hkv), {.causal = true, .window = window});
    backward(out, dout);
    return cast(leaf.grad().to(kCpuDevice), DType::kF32).to_vector<float>();
  }

  static void expect_same_gradients(Device device, const Sizes& sizes, std::int64_t window = 0) {
    constexpr std::int64_t kDepth = 32;
    const auto& [B, T, H, Hkv] = sizes;
    const auto draw = [&](std::int64_t heads, unsigned seed) {
      std::mt19937_64 rng(seed);
      std::normal_distribution<float> normal;
      std::vector<float> values(static_cast<std::size_t>(B * T * heads * kDepth));
      std::generate(values.begin(), values.end(), [&] { return normal(rng); });
      return cast(Tensor::from_values(values, {B, T, heads, kDepth}), DType::kBF16);
    };
    const Tensor rows = draw(H + 2 * Hkv, 1), dout = draw(H, 2);
    const Tensor own_rows = rows.to(device), own_dout = dout.to(device);
    const std::vector<float> got = gradient(sizes, own_rows, own_dout, window);
    EXPECT_TRUE(gradient(sizes, own_rows, own_dout, window) == got) << "other bits each time";
    force_variant("attention", "");  // which the CPU does not have
    const std::vector<float> expected =
        gradient(sizes, cast(rows, DType::kF32), cast(dout, DType::kF32), window);
    force_variant("attention", "cudnn");
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      error += std::pow(static_cast<double>(got[i]) - expected[i], 2);
      norm += std::pow(expected[i], 2);
    }
    EXPECT_LT(std::sqrt(error / norm), 0.01);  // a head of another's is an error of 0.3 at least
  }
};

TEST_P(ManyScores, AreTakenPartByPart) {
  const Device device = GetParam();
  try {
    expect_same_gradients(device, {1, 128, 2, 1});
  } catch (const Error& error) {
    // Where the library itself is missing, or of a version that computes wrongly.
    if (error.kind() != ErrorKind::kUnsupported) throw;
    GTEST_SKIP() << error.what();
  }
  expect_same_gradients(device, {6, 4096, 8, 4});   // three rows of the batch at once
  expect_same_gradients(device, {2, 8192, 16, 4});  // two key heads of one row
  expect_same_gradients(device, {2, 9344, 14, 2});  // some queries of a key head's query heads
  expect_same_gradients(device, {1, 16384, 9, 1}, 2000);
  expect_same_gradients(device, {1, 17408, 9, 1});  // of one query head
}

std::vector<Device> devices_with_cudnn() {
  std::vector<Device> result;
  for (const Device device : testing::computing_devices()) {
    const std::vector<std::string> ways = kernel_variants(device, "attention");
    if (std::find(ways.begin(), ways.end(), "cudnn") != ways.end()) result.push_back(device);
  }
  return result;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ManyScores);
INSTANTIATE_TEST_SUITE_P(, ManyScores, ::testing::ValuesIn(devices_with_cudnn()),
                         [](const auto& test) { return std::string(to_string(test.param.type)); });

}  // namespace

}  // namespace wick
