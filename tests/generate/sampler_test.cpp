#include "wick/generate/sampler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "generate/uniform.hpp"
#include "harness/expect_error.hpp"
#include "reference/philox_ref.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Probabilities = std::vector<double>;
using Ids = std::vector<std::int32_t>;

std::vector<float> random_logits(std::uint32_t seed, std::size_t size, int spread = 4000) {
  std::mt19937 bits(seed);
  std::vector<float> logits(size);
  for (float& logit : logits) {
    // Thousandths, so that equal ones occur.
    logit = static_cast<float>(static_cast<int>(bits() % (2U * static_cast<unsigned>(spread))) -
                               spread) /
            1000;
  }
  return logits;
}

Probabilities softmax(const std::vector<double>& scores, double temperature) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  Probabilities p;
  for (const double score : scores) p.push_back(std::exp((score - largest) / temperature));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

// Token ids, most likely first, by sorting everything.
Ids ranking(const Probabilities& p) {
  Ids order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const double of_a = p[static_cast<std::size_t>(a)];
    const double of_b = p[static_cast<std::size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
  });
  return order;
}

// Keeps the first `count` of the ranking, with a sum of 1.
Probabilities keep_first(const Probabilities& p, std::size_t count) {
  const Ids order = ranking(p);
  Probabilities kept(p.size(), 0.0);
  double total = 0;
  for (std::size_t i = 0; i < count; ++i) total += p[static_cast<std::size_t>(order[i])];
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = static_cast<std::size_t>(order[i]);
    kept[id] = p[id] / total;
  }
  return kept;
}

// The rules in their plainest form: sort all, sum all.
Probabilities reference(const std::vector<float>& logits, const SamplingOptions& options) {
  Probabilities p = softmax(std::vector<double>(logits.begin(), logits.end()), options.temperature);
  const auto positive = [&p] {
    return static_cast<std::size_t>(
        std::count_if(p.begin(), p.end(), [](double x) { return x > 0; }));
  };
  if (options.top_k > 0) {
    p = keep_first(p, std::min(positive(), static_cast<std::size_t>(options.top_k)));
  }
  if (options.top_p < 1) {
    const Ids order = ranking(p);
    double sum = 0;
    std::size_t count = 0;
    do {
      sum += p[static_cast<std::size_t>(order[count++])];
    } while (sum < options.top_p && count < positive());
    p = keep_first(p, count);
  }
  const double largest = *std::max_element(p.begin(), p.end());
  const auto enough = std::count_if(
      p.begin(), p.end(), [&](double x) { return x > 0 && x >= options.min_p * largest; });
  return keep_first(p, static_cast<std::size_t>(enough));
}

void expect_distribution(const std::vector<std::pair<std::int32_t, double>>& actual,
                         const Probabilities& expected) {
  double sum = 0;
  double before = 1;
  Probabilities dense(expected.size(), 0.0);
  for (const auto& [id, probability] : actual) {
    sum += probability;
    EXPECT_LE(probability, before) << "token " << id << " is not in order";
    before = probability;
    dense.at(static_cast<std::size_t>(id)) += probability;
  }
  EXPECT_NEAR(sum, 1, 1e-12);
  for (std::size_t id = 0; id < expected.size(); ++id) {
    EXPECT_EQ(dense[id] > 0, expected[id] > 0) << "token " << id;
    EXPECT_NEAR(dense[id], expected[id], 1e-12) << "token " << id;
  }
}

std::vector<double> as_doubles(const std::vector<float>& logits) {
  return {logits.begin(), logits.end()};
}

Ids draw(Sampler sampler, const std::vector<float>& logits, int count) {
  Ids ids;
  for (int i = 0; i < count; ++i) ids.push_back(sampler.next(logits));
  return ids;
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
  Sampler sampler(SamplingOptions{});
  EXPECT_EQ(sampler.next(std::vector<float>{1, 3, 2, 3}), 1);
  EXPECT_EQ(sampler.next(std::vector<float>{-kInf, -kInf, -5, -5}), 2);
  EXPECT_EQ(sampler.next(std::vector<float>{0}), 0);
  const std::vector<std::pair<std::int32_t, double>> certain{{2, 1.0}};
  EXPECT_EQ(sampler.distribution(std::vector<float>{0, 1, 7, 7}), certain);
}

TEST(Sampler, GreedyIgnoresTheFilters) {
  const std::vector<float> logits = random_logits(5, 300);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  Sampler sampler({.top_k = 7, .top_p = 0.2, .min_p = 0.5, .seed = 9});
  EXPECT_EQ(sampler.next(logits), static_cast<std::int32_t>(best));
}

TEST(Sampler, EachFilterMatchesThePlainRule) {
  const std::vector<SamplingOptions> all{
      {.temperature = 1},
      {.temperature = 0.3},
      {.temperature = 2.5},
      {.temperature = 1, .top_k = 1},
      {.temperature = 1, .top_k = 10},
      {.temperature = 1, .top_k = 1000},
      {.temperature = 1, .top_p = 0},
      {.temperature = 1, .top_p = 0.05},
      {.temperature = 1, .top_p = 0.5},
      {.temperature = 0.7, .top_p = 0.999},
      {.temperature = 1, .min_p = 0.05},
      {.temperature = 1, .min_p = 1},
      {.temperature = 0.8, .top_k = 40, .top_p = 0.9, .min_p = 0.05},
      {.temperature = 1.5, .top_k = 100, .top_p = 0.6, .min_p = 0.3},
  };
  for (std::uint32_t seed = 0; seed < 8; ++seed) {
    // Few values: many of them are equal.
    std::vector<float> logits = random_logits(seed, 777, seed % 2 == 0 ? 4000 : 20);
    if (seed % 4 == 3) {
      for (std::size_t i = 0; i < logits.size(); i += 3) logits[i] = -kInf;
    }
    for (const SamplingOptions& options : all) {
      SCOPED_TRACE(::testing::Message()
                   << "seed " << seed << " temperature " << options.temperature << " top_k "
                   << options.top_k << " top_p " << options.top_p << " min_p " << options.min_p);
      expect_distribution(Sampler(options).distribution(logits), reference(logits, options));
    }
  }
}

TEST(Sampler, TopKTakesExactlyKWithTheLowerIdsFirst) {
  const std::vector<float> logits{1, 2, 2, 2, 0};
  const auto kept = Sampler({.temperature = 1, .top_k = 2}).distribution(logits);
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_EQ(kept[0], (std::pair<std::int32_t, double>{1, 0.5}));
  EXPECT_EQ(kept[1], (std::pair<std::int32_t, double>{2, 0.5}));
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesP) {
  // Probabilities 1/2, 1/4, 1/8, 1/8, exactly.
  const auto ln2 = static_cast<float>(std::log(2.0));
  const std::vector<float> logits{-3 * ln2, -ln2, -2 * ln2, -3 * ln2};
  const auto kept = [&](double p) {
    return Sampler({.temperature = 1, .top_p = p}).distribution(logits).size();
  };
  EXPECT_EQ(kept(0.0), 1U);
  EXPECT_EQ(kept(0.49), 1U);
  EXPECT_EQ(kept(0.51), 2U);
  EXPECT_EQ(kept(0.74), 2U);
  EXPECT_EQ(kept(0.76), 3U);
  EXPECT_EQ(kept(0.88), 4U);
  EXPECT_EQ(kept(1.0), 4U);
}

TEST(Sampler, RepetitionPenaltyLooksAtPromptAndGeneratedTokens) {
  const std::vector<float> logits{2, -2, 3, 0, 1};
  Sampler sampler({.temperature = 1, .repetition_penalty = 2});
  sampler.accept_prompt(Ids{0, 1, 0, 3});
  std::vector<double> scores = as_doubles(logits);
  scores[0] = 1;   // positive: divided
  scores[1] = -4;  // negative: multiplied
  expect_distribution(sampler.distribution(logits), softmax(scores, 1));
  const std::vector<float> only_two{-kInf, -kInf, 3, -kInf, -kInf};
  ASSERT_EQ(sampler.next(only_two), 2);
  scores[2] = 1.5;
  expect_distribution(sampler.distribution(logits), softmax(scores, 1));
}

TEST(Sampler, PresenceAndFrequencyLookAtGeneratedTokensOnly) {
  const std::vector<float> logits{2, -2, 3};
  Sampler sampler({.temperature = 1, .presence_penalty = 0.5, .frequency_penalty = 0.25});
  sampler.accept_prompt(Ids{0, 1, 2});
  std::vector<double> scores = as_doubles(logits);
  expect_distribution(sampler.distribution(logits), softmax(scores, 1));
  ASSERT_EQ(sampler.next(std::vector<float>{-kInf, 1, -kInf}), 1);
  ASSERT_EQ(sampler.next(std::vector<float>{-kInf, 1, -kInf}), 1);
  ASSERT_EQ(sampler.next(std::vector<float>{1, -kInf, -kInf}), 0);
  scores[0] = 2 - 0.5 - 0.25;
  scores[1] = -2 - 0.5 - 2 * 0.25;
  expect_distribution(sampler.distribution(logits), softmax(scores, 1));
}

TEST(Sampler, PenaltiesForgetWhatLeavesTheirWindow) {
  const std::vector<float> logits{1, 1, 1, 1};
  Sampler sampler({.temperature = 1,
                   .repetition_penalty = 2,
                   .frequency_penalty = 1,
                   .repetition_context_size = 3});
  sampler.accept_prompt(Ids{0, 1, 1, 2});  // the first 0 is out already
  expect_distribution(sampler.distribution(logits), softmax({1, 0.5, 0.5, 1}, 1));
  const std::vector<float> only_three{-kInf, -kInf, -kInf, 0};
  sampler.next(only_three);  // 1 2 3
  expect_distribution(sampler.distribution(logits), softmax({1, 0.5, 0.5, 0.5 - 1}, 1));
  sampler.next(only_three);  // 2 3 3
  expect_distribution(sampler.distribution(logits), softmax({1, 1, 0.5, 0.5 - 2}, 1));
  sampler.next(std::vector<float>{0, -kInf, -kInf, -kInf});  // 3 3 0
  sampler.next(std::vector<float>{0, -kInf, -kInf, -kInf});  // 3 0 0
  expect_distribution(sampler.distribution(logits), softmax({0.5 - 2, 1, 1, 0.5 - 1}, 1));
}

TEST(Sampler, PenaltiesChangeTheGreedyToken) {
  Sampler sampler({.frequency_penalty = 1});
  const std::vector<float> logits{2.5F, 2, 0};
  EXPECT_EQ(sampler.next(logits), 0);
  EXPECT_EQ(sampler.next(logits), 1);
  EXPECT_EQ(sampler.next(logits), 0);
  EXPECT_EQ(sampler.next(logits), 1);
}

TEST(Sampler, AbsurdPenaltiesStayFinite) {
  Sampler sampler({.temperature = 1,
                   .repetition_penalty = 1e-308,
                   .presence_penalty = 1e308,
                   .frequency_penalty = -1.7e308});
  sampler.accept_prompt(Ids{0, 1, 2});
  for (int i = 0; i < 5; ++i) {
    double sum = 0;
    for (const auto& [id, p] : sampler.distribution(std::vector<float>{3, -3, 0})) sum += p;
    EXPECT_NEAR(sum, 1, 1e-12);
    sampler.next(std::vector<float>{3, -3, 0});
  }
}

TEST(Sampler, FrequenciesFollowTheDistribution) {
  const std::vector<float> logits = random_logits(3, 40, 1500);
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 0.9, .seed = 17},
        SamplingOptions{.temperature = 1.2, .top_k = 12, .top_p = 0.9, .seed = 18}}) {
    constexpr int kDraws = 20000;
    std::map<std::int32_t, int> counts;
    for (const std::int32_t id : draw(Sampler(options), logits, kDraws)) ++counts[id];
    double chi_square = 0;
    int total = 0;
    const auto expected = Sampler(options).distribution(logits);
    for (const auto& [id, p] : expected) {
      const double deviation = counts[id] - kDraws * p;
      chi_square += deviation * deviation / (kDraws * p);
      total += counts[id];
    }
    EXPECT_EQ(total, kDraws) << "something was drawn that has no probability";
    // Mean n − 1, standard deviation √(2 (n − 1)).
    const double freedom = static_cast<double>(expected.size()) - 1;
    EXPECT_LT(chi_square, freedom + 4 * std::sqrt(2 * freedom));
    EXPECT_GT(chi_square, freedom - 4 * std::sqrt(2 * freedom));
  }
}

TEST(Sampler, SeedAndStreamDecideEveryDraw) {
  const std::vector<float> logits = random_logits(1, 1000);
  const SamplingOptions options{.temperature = 1, .seed = 5};
  const Ids ids = draw(Sampler(options, 3), logits, 50);
  EXPECT_EQ(draw(Sampler(options, 3), logits, 50), ids);
  EXPECT_NE(draw(Sampler(options, 4), logits, 50), ids);
  EXPECT_NE(draw(Sampler({.temperature = 1, .seed = 6}, 3), logits, 50), ids);
  // A copy goes on where the original stands, and asking for the distribution draws nothing.
  Sampler original(options, 3);
  for (int i = 0; i < 20; ++i) {
    original.distribution(logits);
    EXPECT_EQ(original.next(logits), ids[static_cast<std::size_t>(i)]);
  }
  EXPECT_EQ(draw(original, logits, 30), Ids(ids.begin() + 20, ids.end()));
}

TEST(Sampler, DrawsFromAVocabularyOfRealSize) {
  std::vector<float> logits = random_logits(2, 152000, 9000);
  logits[151999] = 30;
  EXPECT_EQ(draw(Sampler({.temperature = 0.5}), logits, 3), Ids({151999, 151999, 151999}));
  const auto kept = Sampler({.temperature = 1, .top_k = 50}).distribution(logits);
  EXPECT_EQ(kept.size(), 50U);
  EXPECT_EQ(kept.front().first, 151999);
  // Nearly flat: top-p has to go through most of it.
  const std::vector<float> flat(152000, 1.0F);
  const auto half = Sampler({.temperature = 1, .top_p = 0.5}).distribution(flat);
  EXPECT_NEAR(static_cast<double>(half.size()), 76000, 1);
  EXPECT_EQ(half.front().first, 0);
}

TEST(Sampler, UniformIsPhilox) {
  const std::array<std::array<std::uint64_t, 3>, 4> keys{
      {{0, 0, 0}, {1, 2, 3}, {~0ULL, ~0ULL, ~0ULL}, {0x123456789ULL << 8, 7ULL << 40, 1ULL << 33}}};
  for (const auto& [seed, stream, index] : keys) {
    const auto word = [](std::uint64_t x, int half) {
      return static_cast<std::uint32_t>(x >> (32 * half));
    };
    const reference::PhiloxWords words =
        reference::philox_ref({word(index, 0), word(index, 1), word(stream, 0), word(stream, 1)},
                              {word(seed, 0), word(seed, 1)});
    const double expected = words[0] * 0x1p-32 + (words[1] >> 11) * 0x1p-53;
    EXPECT_EQ(detail::uniform(seed, stream, index), expected);
    EXPECT_LT(expected, 1);
  }
}

TEST(Sampler, RefusesLogitsThatNameNoToken) {
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature});
    expect_error(ErrorKind::kArgument, {"sampling: ", "logit 2 of 4 is nan"},
                 [&] { sampler.next(std::vector<float>{0, 1, kNan, 2}); });
    expect_error(ErrorKind::kArgument, {"logit 0 of 2 is inf"},
                 [&] { sampler.next(std::vector<float>{kInf, 1}); });
    expect_error(ErrorKind::kArgument, {"none of 3 logits is finite"},
                 [&] { sampler.distribution(std::vector<float>{-kInf, -kInf, -kInf}); });
    expect_error(ErrorKind::kArgument, {"none of 0 logits"},
                 [&] { sampler.next(std::vector<float>{}); });
  }
}

TEST(Sampler, RefusesTokensThatHaveNoLogit) {
  Sampler sampler({.repetition_penalty = 1.1});
  expect_error(ErrorKind::kArgument, {"token id of the prompt is -3"},
               [&] { sampler.accept_prompt(Ids{1, -3}); });
  sampler.accept_prompt(Ids{9});
  expect_error(ErrorKind::kArgument, {"token 9 was seen before, but there are 2 logits"},
               [&] { sampler.next(std::vector<float>{0, 1}); });
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<SamplingOptions, std::string>> bad{
      {{.temperature = -0.1}, "temperature must be finite and at least 0, got -0.1"},
      {{.temperature = kNotANumber}, "temperature"},
      {{.temperature = kInfinite}, "temperature"},
      {{.top_k = -1}, "top_k must be at least 0, got -1"},
      {{.top_p = 1.01}, "top_p must be in [0, 1], got 1.01"},
      {{.top_p = -0.01}, "top_p"},
      {{.min_p = 2}, "min_p must be in [0, 1], got 2"},
      {{.min_p = kNotANumber}, "min_p"},
      {{.repetition_penalty = 0}, "repetition_penalty must be finite and above 0, got 0"},
      {{.repetition_penalty = kNotANumber}, "repetition_penalty"},
      {{.presence_penalty = kInfinite}, "presence_penalty must be finite, got inf"},
      {{.frequency_penalty = kNotANumber}, "frequency_penalty must be finite, got nan"},
      {{.repetition_context_size = -5}, "repetition_context_size must be at least 0, got -5"},
  };
  for (const auto& [options, text] : bad) {
    expect_error(ErrorKind::kArgument, {text}, [&given = options] { Sampler sampler(given); });
  }
  EXPECT_NO_THROW(SamplingOptions{}.check());
}

}  // namespace

}  // namespace wick
