#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "train/run_support.hpp"
#include "wick/train/trainer.hpp"

namespace wick::test {

namespace {

constexpr std::int64_t kSteps = 10;

// What ten steps of a run leave.
struct Trace {
  std::vector<float> losses;
  std::vector<float> norms;
  std::vector<float> trained;
};

struct Setup {
  std::string name;
  std::string kind = "lora";  // or dora, head, full
  double dropout = 0;
  bool packing = false;
  std::int64_t checkpointed_layers = 0;
  DType held = DType::kF32;  // of the frozen weights
};

std::shared_ptr<CausalLm> model_of(const Setup& setup, DType dtype) {
  auto model = CausalLm::create(tiny_config(), 7, kCpuDevice, dtype);
  if (setup.held == DType::kF32) return model;
  const TempFolder folder;
  model->write_files(folder.path(), setup.held);
  // In memory of its own: the files go.
  return CausalLm::load(folder.path(), {.dtype = setup.held, .compute_dtype = dtype});
}

Trace trace_of(const Setup& setup, DType dtype) {
  const auto model = model_of(setup, dtype);
  std::shared_ptr<LoraAdapter> adapter;
  TrainerOptions options;
  options.max_steps = kSteps;
  options.learning_rate = setup.kind == "full" ? 1e-3 : 1e-2;
  options.batches = {.batch_size = 4, .max_seq_length = 32, .packing = setup.packing};
  options.compute.checkpointed_layers = setup.checkpointed_layers;
  if (setup.kind == "full") {
    options.fine_tune_type = FineTuneType::kFull;
  } else {
    LoraConfig lora;
    lora.lora_dropout = setup.dropout;
    lora.use_dora = setup.kind == "dora";
    lora.target_modules.all_linear = setup.kind != "head";
    if (setup.kind == "head") lora.target_modules.suffixes = {"q_proj", "lm_head"};
    adapter = LoraAdapter::create(lora, model->lora_host(), 11);
    model->add_adapter("default", adapter);
    model->set_active_adapters({{"default"}});
  }
  Trainer trainer(model, adapter, tiny_dataset(20), {}, options);
  Trace trace;
  trainer.run({.on_step = [&](const StepReport& report) {
    trace.losses.push_back(static_cast<float>(report.loss));
    trace.norms.push_back(static_cast<float>(report.grad_norm));
  }});
  const NamedTensors trained = adapter ? adapter->tensors() : model->parameters();
  for (const auto& [name, tensor] : trained) EXPECT_EQ(tensor.dtype(), DType::kF32) << name;
  trace.trained = floats(trained);
  return trace;
}

class HalfTraining : public testing::TestWithParam<Setup> {};
INSTANTIATE_TEST_SUITE_P(
    Runs, HalfTraining,
    testing::Values(Setup{.name = "lora"}, Setup{.name = "lora_bf16_weights", .held = DType::kBF16},
                    Setup{.name = "lora_f16_weights", .held = DType::kF16},
                    Setup{.name = "lora_dropout_packed", .dropout = 0.2, .packing = true},
                    Setup{.name = "lora_layers_again", .checkpointed_layers = 2},
                    Setup{.name = "dora", .kind = "dora"},
                    Setup{.name = "dora_dropout", .kind = "dora", .dropout = 0.2},
                    Setup{.name = "head", .kind = "head"}, Setup{.name = "full", .kind = "full"},
                    Setup{.name = "full_layers_again", .kind = "full", .checkpointed_layers = 1}),
    [](const auto& test) { return test.param.name; });

TEST_P(HalfTraining, TenStepsAreNearThoseOfF32) {
  const Trace expected = trace_of(GetParam(), DType::kF32);
  ASSERT_EQ(expected.losses.size(), static_cast<std::size_t>(kSteps));
  ASSERT_LT(expected.losses.back(), expected.losses.front());
  for (const auto& [dtype, loss_limit, trained_limit] :
       {std::tuple{DType::kBF16, 0.01, 0.1}, {DType::kF16, 0.002, 0.02}}) {
    SCOPED_TRACE(to_string(dtype));
    const Trace got = trace_of(GetParam(), dtype);
    EXPECT_LT(relative_norm_error(got.losses, expected.losses), loss_limit);
    EXPECT_LT(relative_norm_error(got.norms, expected.norms), 5 * loss_limit);
    EXPECT_LT(relative_norm_error(got.trained, expected.trained), trained_limit);
  }
}

// The gradient of a mean over ten million tokens: in f16 most of it would be zero, were it what goes back.
TEST(HalfGradients, AreNotLostWhereManyTokensCount) {
  MicroBatch batch{.batch_size = 2, .length = 16, .num_targets = 10'000'000, .num_tokens = 32};
  for (std::int32_t i = 0; i < 32; ++i) {
    batch.ids.push_back(i * 7 % 61);
    batch.targets.push_back(i * 11 % 61);
    batch.positions.push_back(i % 16);
    batch.segments.push_back(0);
  }
  const auto gradient_norm = [&](DType dtype) {
    const auto model = CausalLm::create(tiny_config(), 7, kCpuDevice, dtype);
    LoraConfig lora;
    lora.target_modules.all_linear = true;
    const auto adapter = model->create_adapter("default", lora, 11);
    model->set_active_adapters({{"default"}});
    adapter->set_trainable(true);
    Optimizer optimizer(*model, adapter->tensors(), {}, {});
    return optimizer.step(std::span(&batch, 1), 1e-3, 0)->grad_norm;
  };
  const double expected = gradient_norm(DType::kF32);
  ASSERT_LT(expected, 1e-5);
  EXPECT_NEAR(gradient_norm(DType::kF16), expected, 2e-3 * expected);
}

}  // namespace

}  // namespace wick::test
