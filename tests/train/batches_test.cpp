#include "wick/train/batches.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "train/shuffle.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace {

using Ids = std::vector<std::int32_t>;

// Samples of random lengths; ids name sample and place, so that a misplaced token is recognised.
Dataset random_dataset(std::mt19937& random, std::int64_t num_samples, std::int64_t longest) {
  Dataset dataset;
  for (std::int64_t i = 0; i < num_samples; ++i) {
    const auto length = 1 + random() % static_cast<std::uint64_t>(longest);
    Ids ids;
    std::vector<std::uint8_t> marks;
    for (std::uint64_t t = 0; t < length; ++t) {
      ids.push_back(static_cast<std::int32_t>(i * 1000 + static_cast<std::int64_t>(t)));
      marks.push_back(random() % 3 != 0 ? 1 : 0);
    }
    dataset.add(ids, marks);
  }
  return dataset;
}

// Adds a sample of so many tokens that are all targets.
void add_sample(Dataset& dataset, std::int64_t length) {
  const auto n = static_cast<std::size_t>(length);
  dataset.add(Ids(n, 7), std::vector<std::uint8_t>(n, 1));
}

Ids row_of(const Ids& values, const MicroBatch& batch, std::int64_t row) {
  const auto begin = values.begin() + row * batch.length;
  return {begin, begin + batch.length};
}

// What a row must hold, from the data set and the plan's list of samples alone.
void check_row(const Dataset& dataset, const std::vector<std::int64_t>& samples,
               const MicroBatch& batch, std::int64_t row, std::int64_t& num_targets) {
  Ids ids;
  Ids targets;
  Ids positions;
  Ids segments;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    const Sample sample = dataset[samples[s]];
    for (std::size_t t = 0; t < sample.ids.size(); ++t) {
      const bool learnt = t + 1 < sample.ids.size() && sample.is_target[t + 1] != 0;
      ids.push_back(sample.ids[t]);
      targets.push_back(learnt ? sample.ids[t + 1] : -100);
      positions.push_back(static_cast<std::int32_t>(t));
      segments.push_back(static_cast<std::int32_t>(s));
      num_targets += learnt ? 1 : 0;
    }
  }
  const auto length = static_cast<std::size_t>(batch.length);
  ASSERT_LE(ids.size(), length);
  ids.resize(length, 0);
  targets.resize(length, -100);
  positions.resize(length, 0);
  segments.resize(length, -1);
  EXPECT_EQ(row_of(batch.ids, batch, row), ids);
  EXPECT_EQ(row_of(batch.targets, batch, row), targets);
  EXPECT_EQ(row_of(batch.positions, batch, row), positions);
  EXPECT_EQ(row_of(batch.segments, batch, row), segments);
}

struct EpochSums {
  std::int64_t num_targets = 0;
  std::int64_t num_tokens = 0;
  std::int64_t num_elements = 0;
  std::vector<std::int64_t> order;  // samples as they come

  double padding() const {
    return 1 - static_cast<double>(num_tokens) / static_cast<double>(num_elements);
  }
};

EpochSums check_epoch(const Dataset& dataset, const BatchOptions& options, std::int64_t epoch) {
  const EpochPlan plan(dataset, options, epoch);
  EpochSums sums;
  for (std::int64_t i = 0; i < plan.size(); ++i) {
    const MicroBatch batch = plan.batch(i);
    const auto& rows = plan.rows(i);
    EXPECT_EQ(batch.batch_size, static_cast<std::int64_t>(rows.size()));
    EXPECT_LE(batch.batch_size, options.batch_size);
    EXPECT_TRUE(batch.length % 8 == 0 || batch.length == options.max_seq_length) << batch.length;
    std::int64_t num_targets = 0;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      EXPECT_FALSE(rows[row].empty());
      EXPECT_TRUE(options.packing || rows[row].size() == 1);
      check_row(dataset, rows[row], batch, static_cast<std::int64_t>(row), num_targets);
      sums.order.insert(sums.order.end(), rows[row].begin(), rows[row].end());
    }
    EXPECT_EQ(batch.num_targets, num_targets);
    sums.num_targets += batch.num_targets;
    sums.num_tokens += batch.num_tokens;
    sums.num_elements += batch.batch_size * batch.length;
  }
  EXPECT_EQ(sums.num_tokens, dataset.num_tokens());
  EXPECT_EQ(sums.num_targets, dataset.num_targets());
  std::vector<std::int64_t> sorted = sums.order;
  std::ranges::sort(sorted);
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  EXPECT_EQ(sorted, all) << "a sample was lost or doubled";
  return sums;
}

std::string error_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kArgument);
    return error.what();
  }
  return "no error";
}

std::string plan_error(const Dataset& dataset, const BatchOptions& options,
                       std::int64_t epoch = 0) {
  return error_of([&] { const EpochPlan plan(dataset, options, epoch); });
}

TEST(Batches, EverySampleAndEveryTargetIsInAnEpochOnce) {
  std::mt19937 random(1);
  for (int round = 0; round < 150; ++round) {
    const auto longest = static_cast<std::int64_t>(1 + random() % 70);
    const Dataset dataset =
        random_dataset(random, static_cast<std::int64_t>(1 + random() % 400), longest);
    const BatchOptions options{
        .batch_size = static_cast<std::int64_t>(1 + random() % 9),
        .max_seq_length = longest + static_cast<std::int64_t>(random() % 100),
        .packing = random() % 2 == 0,
        .shuffle = random() % 4 != 0,
        .seed = random()};
    SCOPED_TRACE(testing::Message() << "round " << round << ": " << dataset.size()
                                    << " samples, batch size " << options.batch_size << ", packing "
                                    << options.packing << ", shuffle " << options.shuffle);
    check_epoch(dataset, options, round % 3);
    if (HasFailure()) return;
  }
}

TEST(Batches, WithoutShufflingSamplesKeepTheirOrder) {
  std::mt19937 random(2);
  const Dataset dataset = random_dataset(random, 500, 40);
  for (const bool packing : {false, true}) {
    const auto order =
        check_epoch(dataset,
                    {.batch_size = 3, .max_seq_length = 64, .packing = packing, .shuffle = false},
                    0)
            .order;
    EXPECT_TRUE(std::ranges::is_sorted(order));
  }
}

TEST(Batches, OrderDependsOnSeedAndEpochAlone) {
  std::mt19937 random(3);
  const Dataset dataset = random_dataset(random, 300, 40);
  for (const bool packing : {false, true}) {
    std::map<std::vector<std::int64_t>, int> orders;
    for (const std::uint64_t seed : {0, 1, 2}) {
      for (const std::int64_t epoch : {0, 1, 2}) {
        const BatchOptions options{
            .batch_size = 4, .max_seq_length = 64, .packing = packing, .seed = seed};
        const auto order = check_epoch(dataset, options, epoch).order;
        EXPECT_EQ(check_epoch(dataset, options, epoch).order, order);
        ++orders[order];
      }
    }
    EXPECT_EQ(orders.size(), 9u);
  }
}

TEST(Batches, OrderIsTheSameOnEveryMachine) {
  detail::ShuffleRandom random(42, 3);
  std::vector<std::int64_t> order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  random.shuffle(order);
  EXPECT_EQ(order, (std::vector<std::int64_t>{5, 0, 2, 7, 6, 8, 3, 9, 1, 4}));
}

TEST(Batches, EveryOrderIsEquallyLikely) {
  constexpr int kRounds = 24000;
  std::map<std::vector<int>, int> counts;
  for (int epoch = 0; epoch < kRounds; ++epoch) {
    detail::ShuffleRandom random(5, epoch);
    std::vector<int> order = {0, 1, 2, 3};
    random.shuffle(order);
    ++counts[order];
  }
  ASSERT_EQ(counts.size(), 24u);
  double chi_squared = 0;
  for (const auto& [order, count] : counts) {
    const double difference = count - kRounds / 24.0;
    chi_squared += difference * difference / (kRounds / 24.0);
  }
  EXPECT_LT(chi_squared, 49.7) << "23 degrees of freedom: one in a thousand";
}

TEST(Batches, NumbersBelowABoundReachEveryValue) {
  detail::ShuffleRandom random(1, 1);
  for (const std::uint64_t bound : {1u, 2u, 3u, 7u, 64u}) {
    std::map<std::uint64_t, int> seen;
    for (int i = 0; i < 2000; ++i) ++seen[random.below(bound)];
    EXPECT_EQ(seen.size(), bound);
    EXPECT_LT(seen.rbegin()->first, bound);
  }
}

TEST(Batches, PackingLeavesLittlePadding) {
  std::mt19937 random(4);
  const Dataset dataset = random_dataset(random, 20000, 700);
  const EpochSums packed = check_epoch(
      dataset, {.batch_size = 8, .max_seq_length = 1024, .packing = true, .seed = 9}, 0);
  EXPECT_LT(packed.padding(), 0.01);
  const EpochSums in_order = check_epoch(
      dataset, {.batch_size = 8, .max_seq_length = 1024, .packing = true, .shuffle = false}, 0);
  EXPECT_LT(packed.padding(), in_order.padding());
  RecordProperty("packed_padding", std::to_string(packed.padding()));
  RecordProperty("packed_in_order_padding", std::to_string(in_order.padding()));
}

TEST(Batches, SamplesOfSimilarLengthShareABatch) {
  std::mt19937 random(5);
  const Dataset dataset = random_dataset(random, 20000, 700);
  const EpochSums sorted =
      check_epoch(dataset, {.batch_size = 8, .max_seq_length = 1024, .seed = 9}, 0);
  const EpochSums in_order =
      check_epoch(dataset, {.batch_size = 8, .max_seq_length = 1024, .shuffle = false}, 0);
  EXPECT_LT(sorted.padding(), 0.03);
  EXPECT_GT(in_order.padding(), 0.3);
  RecordProperty("sorted_padding", std::to_string(sorted.padding()));
}

TEST(Batches, ShortAndLongBatchesAlternateAtRandom) {
  std::mt19937 random(6);
  const Dataset dataset = random_dataset(random, 4000, 500);
  const EpochPlan plan(dataset, {.batch_size = 4, .max_seq_length = 512}, 0);
  std::int64_t rises = 0;
  for (std::int64_t i = 1; i < plan.size(); ++i) {
    rises += plan.batch(i).length > plan.batch(i - 1).length ? 1 : 0;
  }
  EXPECT_GT(rises, plan.size() * 2 / 5) << "batches come sorted by length";
  EXPECT_LT(rises, plan.size() * 3 / 5) << "batches come sorted by length";
}

TEST(Batches, LengthIsAMultipleOfEightWithinTheLimit) {
  const auto length_for = [](std::int64_t sample, std::int64_t limit) {
    Dataset dataset;
    add_sample(dataset, sample);
    return EpochPlan(dataset, {.max_seq_length = limit}, 0).batch(0).length;
  };
  EXPECT_EQ(length_for(1, 64), 8);
  EXPECT_EQ(length_for(8, 64), 8);
  EXPECT_EQ(length_for(9, 64), 16);
  EXPECT_EQ(length_for(9, 12), 12);
  EXPECT_EQ(length_for(20, 12), 20) << "without packing a sample may be longer than the limit";
}

TEST(Batches, SamplesOfARowAreKeptApart) {
  Dataset dataset;
  dataset.add(Ids{11, 12, 13}, std::vector<std::uint8_t>{1, 0, 1});
  dataset.add(Ids{21, 22}, std::vector<std::uint8_t>{1, 1});
  const MicroBatch batch =
      EpochPlan(dataset, {.batch_size = 1, .max_seq_length = 8, .packing = true, .shuffle = false},
                0)
          .batch(0);
  EXPECT_EQ(batch.ids, (Ids{11, 12, 13, 21, 22, 0, 0, 0}));
  EXPECT_EQ(batch.targets, (Ids{-100, 13, -100, 22, -100, -100, -100, -100}));
  EXPECT_EQ(batch.positions, (Ids{0, 1, 2, 0, 1, 0, 0, 0}));
  EXPECT_EQ(batch.segments, (Ids{0, 0, 0, 1, 1, -1, -1, -1}));
  EXPECT_EQ(batch.num_targets, 2);
  EXPECT_EQ(batch.num_tokens, 5);
}

TEST(Batches, AHugeBatchSizeIsOneBatch) {
  Dataset dataset;
  add_sample(dataset, 3);
  add_sample(dataset, 5);
  const EpochPlan plan(dataset, {.batch_size = std::int64_t{1} << 60}, 0);
  EXPECT_EQ(plan.size(), 1);
  EXPECT_EQ(plan.batch(0).batch_size, 2);
}

TEST(Batches, BadOptionsAreRefused) {
  Dataset dataset;
  add_sample(dataset, 4);
  add_sample(dataset, 9);
  EXPECT_EQ(plan_error(Dataset(), {}), "batches: the data set is empty");
  EXPECT_EQ(plan_error(dataset, {.batch_size = 0}),
            "batches: batch_size must be at least 1, got 0");
  EXPECT_EQ(plan_error(dataset, {.max_seq_length = -1}),
            "batches: max_seq_length must be at least 1, got -1");
  EXPECT_EQ(plan_error(dataset, {}, -1), "batches: epochs count from 0, got -1");
  EXPECT_EQ(plan_error(dataset, {.max_seq_length = 8, .packing = true}),
            "batches: with packing a sample must fit into a row of 8 tokens, sample 1 has 9");
  const EpochPlan plan(dataset, {}, 0);
  EXPECT_EQ(error_of([&] { (void)plan.batch(1); }),
            "batches: there is no micro-batch 1: the epoch has 1");
  EXPECT_EQ(error_of([&] { (void)plan.rows(-1); }),
            "batches: there is no micro-batch -1: the epoch has 1");
}

TEST(PadSamples, OneRowForEach) {
  const Ids a = {1, 2, 3};
  const Ids b = {4};
  const std::vector<std::uint8_t> a_marks = {1, 1, 0};
  const std::vector<std::uint8_t> b_marks = {1};
  const MicroBatch batch = pad_samples({{a, a_marks}, {b, b_marks}});
  EXPECT_EQ(batch.batch_size, 2);
  EXPECT_EQ(batch.length, 3);
  EXPECT_EQ(batch.ids, (Ids{1, 2, 3, 4, 0, 0}));
  EXPECT_EQ(batch.targets, (Ids{2, -100, -100, -100, -100, -100}));
  EXPECT_EQ(batch.segments, (Ids{0, 0, 0, 0, -1, -1}));
  EXPECT_EQ(batch.num_targets, 1);
  EXPECT_EQ(batch.num_tokens, 4);
  EXPECT_EQ(error_of([] { (void)pad_samples({}); }), "batches: there are no samples");
  EXPECT_EQ(error_of([&] { (void)pad_samples({Sample{}}); }), "batches: a sample has no tokens");
  EXPECT_EQ(error_of([&] { (void)pad_samples({{a, b_marks}}); }),
            "batches: a sample has 3 ids, but 1 marks of targets");
}

}  // namespace

}  // namespace wick
