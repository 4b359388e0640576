// Passes that a device records and repeats: the same numbers as passes that are made anew each time, in the same memory.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backends/null/null_backend.hpp"
#include "train/run_support.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/runtime/settings.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::test {

namespace {

TinyRun lora_on(Device device) {
  LoraConfig config;
  config.target_modules.all_linear = true;
  config.lora_dropout = 0.2;
  TinyRun run{.model = CausalLm::create(tiny_config(), 7, device), .adapter = nullptr};
  run.adapter = run.model->create_adapter("default", config, 11);
  run.model->set_active_adapters({{"default"}});
  run.adapter->set_trainable(true);
  return run;
}

std::vector<MicroBatch> some_batches() {
  const Dataset dataset = tiny_dataset(60);
  const EpochPlan plan(dataset, {.batch_size = 4, .max_seq_length = 32, .packing = true}, 0);
  std::vector<MicroBatch> batches;
  for (std::int64_t i = 0; i < plan.size(); ++i) batches.push_back(plan.batch(i));
  return batches;
}

// The losses and what is trained after steps of two micro-batches, then of one.
std::vector<float> train(Device device, bool forgets) {
  const TinyRun run = lora_on(device);
  const std::vector<MicroBatch> batches = some_batches();
  Optimizer optimizer(*run.model, run.adapter->tensors(), {});
  std::vector<float> result;
  for (std::size_t step = 0; step < 8; ++step) {
    const std::size_t first = step % (batches.size() - 1);
    const std::span<const MicroBatch> own(&batches[first], step < 5 ? 2 : 1);
    if (forgets) optimizer.forget_recordings();
    result.push_back(static_cast<float>(optimizer.step(own, 1e-2, 3)->loss));
  }
  const std::vector<float> trained = floats(run.adapter->tensors());
  result.insert(result.end(), trained.begin(), trained.end());
  return result;
}

std::vector<Device> computing_devices() {
  std::vector<Device> found = devices();
  std::erase(found, kNullDevice);
  return found;
}

class RecordedPasses : public ::testing::TestWithParam<Device> {};

TEST_P(RecordedPasses, GiveTheBitsOfPassesThatAreMadeAnew) {
  EXPECT_EQ(train(GetParam(), false), train(GetParam(), true));
}

INSTANTIATE_TEST_SUITE_P(, RecordedPasses, ::testing::ValuesIn(computing_devices()),
                         [](const auto& test) { return std::string(to_string(test.param.type)); });

class OnTheNullDevice : public ::testing::Test {
 protected:
  OnTheNullDevice()
      : stream_(make_stream(kNullDevice)), guard_(stream_), run_(lora_on(kNullDevice)) {}

  std::vector<std::string> step(std::int64_t num_batches, std::int64_t length) {
    MicroBatch batch{.batch_size = 2, .length = length};
    const auto n = static_cast<std::size_t>(2 * length);
    batch.ids.assign(n, 3);
    batch.targets.assign(n, 4);
    batch.positions.assign(n, 0);
    batch.segments.assign(n, 0);
    batch.num_targets = batch.num_tokens = 2 * length;
    const std::vector<MicroBatch> batches(static_cast<std::size_t>(num_batches), batch);
    null::null_stream(*stream_).take_launches();
    optimizer_.step(batches, 1e-2, 0);
    std::vector<std::string> names;
    for (const null::Launch& launch : null::null_stream(*stream_).take_launches()) {
      names.push_back(launch.kernel);
    }
    return names;
  }
  static std::int64_t allocations() { return memory_stats(kNullDevice).num_allocations; }

  std::shared_ptr<Stream> stream_;
  StreamGuard guard_;
  TinyRun run_;
  Optimizer optimizer_{*run_.model, run_.adapter->tensors(), {}};
};

TEST_F(OnTheNullDevice, APassIsRecordedTheSecondTimeAndRepeatedFromThenOn) {
  const std::vector<std::string> made = step(2, 8);
  EXPECT_EQ(step(2, 8), made);  // recorded
  const std::int64_t before = allocations();
  EXPECT_EQ(step(2, 8), made);
  const std::int64_t repeated = allocations() - before;
  EXPECT_EQ(step(2, 8), made);
  EXPECT_EQ(allocations() - before, 2 * repeated);
  // What a pass itself computes needs nothing new: it is inputs, the norm and the update that do.
  EXPECT_LT(repeated, 16);
  EXPECT_EQ(std::ranges::count(made, "cross_entropy"), 2);
}

TEST_F(OnTheNullDevice, AnotherShapeIsMadeAnew) {
  const std::vector<std::string> made = step(1, 8);
  step(1, 8);
  const std::int64_t before = allocations();
  EXPECT_EQ(step(1, 16), made);
  EXPECT_GT(allocations() - before, 100);
  EXPECT_EQ(step(1, 16), made);
  EXPECT_EQ(step(1, 16), made);
  // A pass that adds to gradients is another one.
  step(2, 16);
  const std::vector<std::string> two = step(2, 16);
  EXPECT_EQ(step(2, 16), two);
  EXPECT_EQ(step(1, 16), made);
}

TEST_F(OnTheNullDevice, OtherAdaptersAreNotOverlooked) {
  const std::vector<std::string> made = step(1, 8);
  step(1, 8);
  LoraConfig config;
  config.target_modules.suffixes = {"q_proj"};
  run_.model->create_adapter("second", config, 5)->set_trainable(true);
  run_.model->set_active_adapters({{"default"}, {"second"}});
  EXPECT_GT(step(1, 8).size(), made.size());
}

TEST_F(OnTheNullDevice, WhatNeedsTheHostIsNotRecorded) {
  stream_->begin_capture();
  EXPECT_THROW(Tensor::from_values(std::vector<float>{1}, {1}, kNullDevice), Error);
  EXPECT_THROW(stream_->synchronize(), Error);
  stream_->end_capture();
}

}  // namespace

}  // namespace wick::test
