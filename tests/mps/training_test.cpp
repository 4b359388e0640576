#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "mps/mps_support.hpp"
#include "wick/models/causal_lm.hpp"
#include "wick/nn/lora_adapter.hpp"
#include "wick/train/optimizer.hpp"

// What a training step asks of Metal.

namespace wick::test {
namespace {

class TrainingStepTest : public MpsTest {
 protected:
  void SetUp() override {
    MpsTest::SetUp();
    const auto folder = std::filesystem::path(WICK_TEST_FIXTURES) / "models" / "qwen3-qknorm";
    model_ = CausalLm::load(folder, {.device = kMpsDevice, .dtype = DType::kF32});
    LoraConfig config;
    config.target_modules.all_linear = true;
    adapter_ = LoraAdapter::create(config, model_->lora_host(), 11);
    model_->add_adapter("default", adapter_);
    model_->set_active_adapters({{"default"}});
    adapter_->set_trainable(true);
    optimizer_ = std::make_unique<Optimizer>(*model_, adapter_->tensors(), OptimizerOptions{});
  }

  static MicroBatch batch() {
    MicroBatch made{.batch_size = 2, .length = 8};
    for (std::int32_t i = 0; i < 16; ++i) {
      made.ids.push_back(3 + i * 5 % 40);
      made.targets.push_back(3 + (i + 1) * 5 % 40);
      made.positions.push_back(i % 8);
      made.segments.push_back(0);
    }
    made.num_targets = made.num_tokens = 16;
    return made;
  }
  StepReport step() {
    const std::vector<MicroBatch> batches{batch()};
    return *optimizer_->step(batches, 1e-2, 5);
  }

  std::shared_ptr<CausalLm> model_;
  std::shared_ptr<LoraAdapter> adapter_;
  std::unique_ptr<Optimizer> optimizer_;
};

TEST_F(TrainingStepTest, MakesNothingNewAfterTheFirstAndWaitsForNothingBeforeTheLoss) {
  step();
  step();  // its uploads find work under way, which those of the first did not
  const softmetal::Counters before = softmetal::counters();
  constexpr std::uint64_t kSteps = 5;
  for (std::uint64_t i = 0; i < kSteps; ++i) step();
  const softmetal::Counters after = softmetal::counters();
  EXPECT_EQ(after.queues, before.queues);
  EXPECT_EQ(after.libraries, before.libraries);
  EXPECT_EQ(after.pipelines, before.pipelines);
  EXPECT_EQ(after.mps_kernels, before.mps_kernels);
  // One is read for the loss, one for the norm of the gradients: the update goes with the next step.
  EXPECT_LE(after.command_buffers - before.command_buffers, 2 * kSteps);
  EXPECT_LE(after.host_waits - before.host_waits, 2 * kSteps);
  EXPECT_GT(after.dispatches - before.dispatches, 100 * kSteps);
}

// The nightly run takes more.
int leak_steps() {
  const char* const asked = std::getenv("WICK_TEST_LEAK_STEPS");
  return asked == nullptr ? 40 : std::stoi(asked);
}

TEST_F(TrainingStepTest, LearnsAndLeavesNoObjectBehind) {
  const double first = step().loss;
  step();
  synchronize(kMpsDevice);
  softmetal::drain();
  const auto live = softmetal::live_objects();
  const std::int64_t bytes = memory_stats(kMpsDevice).live_bytes;
  double last = first;
  for (int i = 0; i < leak_steps(); ++i) last = step().loss;
  synchronize(kMpsDevice);
  softmetal::drain();
  EXPECT_EQ(softmetal::live_objects(), live);
  EXPECT_EQ(memory_stats(kMpsDevice).live_bytes, bytes);
  EXPECT_LT(last, first / 2);
}

}  // namespace
}  // namespace wick::test
