#include "wick/train/optimizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <string>

#include "train/run_support.hpp"
#include "wick/ops/move.hpp"
#include "wick/train/schedule.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;

const fs::path kModels = fs::path(WICK_TEST_FIXTURES) / "models";

// Each adapter of each model fixture as "model/adapter".
std::vector<std::string> adapter_fixtures() {
  std::vector<std::string> names;
  for (const auto& model : fs::directory_iterator(kModels)) {
    if (!fs::exists(model.path() / "adapters")) continue;
    for (const auto& adapter : fs::directory_iterator(model.path() / "adapters")) {
      names.push_back(model.path().filename().string() + "/" + adapter.path().filename().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

// The batch that the reference was trained on: its labels are shifted inside of the model, ours before.
MicroBatch reference_batch(const SafetensorsFile& file) {
  const Tensor ids = file.tensor("input_ids");
  const auto tokens = ids.to_vector<std::int64_t>();
  const auto labels = file.tensor("labels").to_vector<std::int64_t>();
  MicroBatch batch{.batch_size = ids.dim(0), .length = ids.dim(1)};
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto t = static_cast<std::int32_t>(i % static_cast<std::size_t>(batch.length));
    batch.ids.push_back(static_cast<std::int32_t>(tokens[i]));
    batch.targets.push_back(t + 1 == batch.length ? -100
                                                  : static_cast<std::int32_t>(labels[i + 1]));
    batch.positions.push_back(t);
    batch.segments.push_back(0);
    batch.num_targets += batch.targets.back() != -100 ? 1 : 0;
  }
  return batch;
}

// Elements whose first gradient is no more than the rounding of its neighbours: Adam divides it by its own size, so they
// move by a whole learning rate in a direction that nobody can predict. Zeroes them in both.
void drop_rounding(const std::vector<float>& gradient, std::vector<float>& got,
                   std::vector<float>& expected) {
  double square = 0;
  for (const float g : gradient) square += std::pow(static_cast<double>(g), 2);
  const double rms = std::sqrt(square / static_cast<double>(gradient.size()));
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    if (std::abs(static_cast<double>(gradient[i])) > 1e-5 * rms) continue;
    got[i] = expected[i] = 0;
    ++dropped;
  }
  ASSERT_LE(dropped, 1U);
}

class ReferenceRun : public ::testing::TestWithParam<std::string> {};

TEST_P(ReferenceRun, TenStepsOfAdamWWithClipping) {
  const fs::path name(GetParam());
  const fs::path model_folder = kModels / name.parent_path();
  const fs::path folder = model_folder / "adapters" / name.filename();
  const auto expected = SafetensorsFile::open(folder / "expected.safetensors");
  const auto base = SafetensorsFile::open(model_folder / "expected.safetensors");
  const auto model = CausalLm::load(model_folder, {.dtype = DType::kF32});
  const auto adapter = model->load_adapter("default", folder);
  model->set_active_adapters({{"default"}});
  adapter->set_trainable(true);
  const MicroBatch batch = reference_batch(base);
  const Schedule schedule{
      .type = ScheduleType::kCosine, .learning_rate = 2e-2, .warmup_steps = 2, .total_steps = 10};
  Optimizer optimizer(*model, adapter->tensors(), {.weight_decay = 0.01, .max_grad_norm = 1.0});
  const std::vector<float> losses = floats(expected.tensor("train.losses"));
  const std::vector<float> norms = floats(expected.tensor("train.grad_norms"));
  ASSERT_EQ(losses.size(), 10U);
  EXPECT_GT(*std::ranges::max_element(norms), 1) << "nothing was clipped";
  for (std::int64_t step = 1; step <= 10; ++step) {
    const auto at = static_cast<std::size_t>(step - 1);
    const auto report = optimizer.step(std::span(&batch, 1), schedule.at(step), 0);
    ASSERT_TRUE(report.has_value());
    EXPECT_NEAR(report->loss / static_cast<double>(losses[at]), 1, 1e-3) << "step " << step;
    EXPECT_NEAR(report->grad_norm / static_cast<double>(norms[at]), 1, 1e-3) << "step " << step;
  }
  std::size_t compared = 0;
  for (const auto& [path, tensor] : adapter->tensors()) {
    // In memory PEFT holds a magnitude in a module of its own.
    const std::string name_there =
        path + (path.ends_with("lora_magnitude_vector") ? ".weight" : "");
    ASSERT_TRUE(expected.contains("trained." + name_there)) << path;
    std::vector<float> got = floats(tensor);
    std::vector<float> values = floats(expected.tensor("trained." + name_there));
    drop_rounding(floats(expected.tensor("grad." + name_there)), got, values);
    EXPECT_LT(relative_norm_error(got, values), 1e-3) << path;
    ++compared;
  }
  EXPECT_GT(compared, 0U);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, ReferenceRun, ::testing::ValuesIn(adapter_fixtures()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace_if(
                               name, [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

TEST(OptimizerFixtures, EveryDecoderHasAdapters) { EXPECT_EQ(adapter_fixtures().size(), 14U); }

// The micro-batches of a whole epoch in some layout.
std::vector<MicroBatch> batches_of(const Dataset& data, const BatchOptions& options) {
  const EpochPlan plan(data, options, 0);
  std::vector<MicroBatch> batches;
  for (std::int64_t i = 0; i < plan.size(); ++i) batches.push_back(plan.batch(i));
  return batches;
}

struct Outcome {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<float> parameters;
};

// Some steps over all micro-batches at once. The large epsilon keeps the update proportional to the gradient: with the
// usual one, the sign of a gradient that is zero but for rounding would decide.
Outcome train_on(const std::vector<MicroBatch>& batches, bool full, ComputeOptions compute = {},
                 double epsilon = 1e-3) {
  LoraConfig config;
  config.init_lora_weights = LoraInit::kNone;  // with B = 0, A would receive a gradient of zeros
  const TinyRun run = tiny_lora(config);
  if (full) {
    run.model->set_active_adapters({});
    run.model->set_trainable(true);
  } else {
    run.adapter->set_trainable(true);
  }
  const NamedTensors trained = full ? run.model->parameters() : run.adapter->tensors();
  Optimizer optimizer(*run.model, trained, {.adam_epsilon = epsilon}, compute);
  Outcome outcome;
  for (int step = 0; step < 3; ++step) {
    const auto report = optimizer.step(batches, 1e-2, 5);
    outcome.losses.push_back(report->loss);
    outcome.norms.push_back(report->grad_norm);
  }
  outcome.parameters = floats(trained);
  return outcome;
}

void expect_same_training(const Outcome& got, const Outcome& expected) {
  for (std::size_t step = 0; step < expected.losses.size(); ++step) {
    EXPECT_NEAR(got.losses[step] / expected.losses[step], 1, 1e-6);
    EXPECT_NEAR(got.norms[step] / expected.norms[step], 1, 1e-6);
  }
  EXPECT_LT(relative_norm_error(got.parameters, expected.parameters), 1e-6);
}

class Layouts : public ::testing::TestWithParam<bool> {};

TEST_P(Layouts, BatchAccumulationAndPackingLearnTheSame) {
  const Dataset data = tiny_dataset(8);
  const auto batch = batches_of(data, {.batch_size = 8, .max_seq_length = 64, .shuffle = false});
  ASSERT_EQ(batch.size(), 1U);
  const Outcome expected = train_on(batch, GetParam());
  EXPECT_LT(expected.losses.back(), expected.losses.front());

  const auto single = batches_of(data, {.batch_size = 1, .max_seq_length = 64, .shuffle = false});
  ASSERT_EQ(single.size(), 8U);
  expect_same_training(train_on(single, GetParam()), expected);

  const auto packed =
      batches_of(data, {.batch_size = 1, .max_seq_length = 64, .packing = true, .shuffle = false});
  ASSERT_LT(packed.size(), 4U);
  expect_same_training(train_on(packed, GetParam()), expected);

  const auto both =
      batches_of(data, {.batch_size = 2, .max_seq_length = 40, .packing = true, .shuffle = true});
  expect_same_training(train_on(both, GetParam()), expected);
}

TEST_P(Layouts, CheckpointingGivesTheSameBits) {
  const auto batches = batches_of(tiny_dataset(8), {.batch_size = 4, .max_seq_length = 64});
  const Outcome expected = train_on(batches, GetParam(), {.selective_checkpointing = false});
  for (const bool selective : {false, true}) {
    for (const std::int64_t layers : {0, 1, 2, 99}) {
      const Outcome got =
          train_on(batches, GetParam(),
                   {.selective_checkpointing = selective, .checkpointed_layers = layers});
      EXPECT_EQ(got.parameters, expected.parameters);
      EXPECT_EQ(got.losses, expected.losses);
    }
  }
}

TEST_P(Layouts, ChunksOfLogitsLearnTheSame) {
  const auto batches = batches_of(tiny_dataset(8), {.batch_size = 8, .max_seq_length = 64});
  expect_same_training(train_on(batches, GetParam(), {.loss_chunk_rows = 7}),
                       train_on(batches, GetParam()));
}

INSTANTIATE_TEST_SUITE_P(FineTuneTypes, Layouts, ::testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "full" : "lora");
});

TEST(Optimizer, PaddingIsNeverSeen) {
  const Dataset data = tiny_dataset(3);
  auto batches = batches_of(data, {.batch_size = 3, .shuffle = false});
  const Outcome expected = train_on(batches, false);
  MicroBatch& batch = batches.front();
  std::int64_t padding = 0;
  for (std::size_t i = 0; i < batch.ids.size(); ++i) {
    if (batch.segments[i] != -1) continue;
    batch.ids[i] = 17;
    ++padding;
  }
  ASSERT_GT(padding, 0);
  expect_same_training(train_on(batches, false), expected);
}

TEST(Optimizer, TokensThatAreNoTargetsTeachNothing) {
  Dataset data;
  data.add(std::vector<std::int32_t>{3, 4, 5, 6}, std::vector<std::uint8_t>{0, 0, 0, 1});
  MicroBatch batch = batches_of(data, {.batch_size = 1}).front();
  EXPECT_EQ(batch.num_targets, 1);
  TinyRun run = tiny_lora();
  const double sum = loss_sum(*run.model, batch);
  // The loss of the last token alone, from the logits of the one before it.
  const Tensor logits = run.model->logits(
      run.model->hidden(Tensor::from_values(std::vector<std::int32_t>{3, 4, 5}, {1, 3})));
  const std::vector<float> values = floats(logits);
  double total = 0;
  for (std::size_t v = 0; v < 61; ++v) total += std::exp(static_cast<double>(values[2 * 61 + v]));
  EXPECT_NEAR(sum, std::log(total) - static_cast<double>(values[2 * 61 + 6]), 1e-5);
}

TEST(Optimizer, TrainsExactlyItsParameters) {
  const TinyRun run = tiny_lora();
  run.adapter->set_trainable(true);
  const std::vector<float> base = floats(run.model->parameters());
  const NamedTensors trained = run.adapter->tensors();
  std::map<std::string, std::vector<float>> before;
  for (const auto& [name, tensor] : trained) before[name] = floats(tensor);
  Optimizer optimizer(*run.model, trained, {});
  const auto batches = batches_of(tiny_dataset(8), {});
  // With B = 0 the gradient of A is exactly zero in the first step, and still one that arrived.
  optimizer.step(batches, 1e-2, 0);
  for (const auto& [name, tensor] : trained) {
    const bool is_a = name.ends_with("lora_A.weight");
    EXPECT_EQ(floats(tensor) == before[name], is_a) << name;
    EXPECT_FALSE(tensor.grad().defined());
  }
  optimizer.step(batches, 1e-2, 0);
  for (const auto& [name, tensor] : trained) EXPECT_NE(floats(tensor), before[name]) << name;
  EXPECT_EQ(floats(run.model->parameters()), base);
  EXPECT_EQ(optimizer.steps(), 2);
}

TEST(Optimizer, BaseMayHaveAnyFloatingType) {
  const TempFolder folder;
  CausalLm::create(tiny_config(), 7)->write_files(folder.path());
  const auto batches = batches_of(tiny_dataset(8), {});
  std::map<DType, std::vector<double>> losses;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const auto model = CausalLm::load(folder.path(), {.dtype = dtype});
    LoraConfig config;
    config.target_modules.all_linear = true;
    const auto adapter = LoraAdapter::create(config, model->lora_host(), 11);
    model->add_adapter("default", adapter);
    model->set_active_adapters({{"default"}});
    adapter->set_trainable(true);
    Optimizer optimizer(*model, adapter->tensors(), {});
    for (int step = 0; step < 5; ++step) {
      losses[dtype].push_back(optimizer.step(batches, 2e-2, 0)->loss);
    }
    for (const auto& [name, tensor] : adapter->tensors()) EXPECT_EQ(tensor.dtype(), DType::kF32);
  }
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    EXPECT_NE(losses[dtype], losses[DType::kF32]);
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(losses[dtype][i] / losses[DType::kF32][i], 1, 2e-2);
    }
  }
  EXPECT_LT(losses[DType::kBF16].back(), losses[DType::kBF16].front());
}

TEST(Optimizer, DropoutDependsOnSeedStepAndMicroBatch) {
  const auto losses = [](std::uint64_t seed, double dropout) {
    LoraConfig config;
    config.lora_dropout = dropout;
    config.init_lora_weights = LoraInit::kNone;
    const TinyRun run = tiny_lora(config);
    run.adapter->set_trainable(true);
    Optimizer optimizer(*run.model, run.adapter->tensors(), {});
    const MicroBatch batch = batches_of(tiny_dataset(4), {}).front();
    std::vector<double> all;
    for (int step = 0; step < 2; ++step) {
      all.push_back(optimizer.step(std::vector{batch, batch}, 0, seed)->loss);
    }
    return all;
  };
  EXPECT_EQ(losses(1, 0.3), losses(1, 0.3));
  EXPECT_NE(losses(1, 0.3), losses(2, 0.3));
  EXPECT_NE(losses(1, 0.3)[0], losses(1, 0.3)[1]) << "each step has masks of its own";
  EXPECT_EQ(losses(1, 0)[0], losses(2, 0)[1]);
}

TEST(Optimizer, StopBetweenMicroBatchesChangesNothing) {
  const TinyRun run = tiny_lora();
  run.adapter->set_trainable(true);
  const std::vector<float> before = floats(run.adapter->tensors());
  Optimizer optimizer(*run.model, run.adapter->tensors(), {});
  const auto batches = batches_of(tiny_dataset(8), {.batch_size = 1});
  int asked = 0;
  EXPECT_FALSE(optimizer.step(batches, 1e-2, 0, [&] { return ++asked > 3; }).has_value());
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(optimizer.steps(), 0);
  EXPECT_EQ(floats(run.adapter->tensors()), before);
  for (const auto& [name, tensor] : run.adapter->tensors()) EXPECT_FALSE(tensor.grad().defined());
}

// Overwrites an element in the middle of a tensor.
void poison(const Tensor& tensor, float value) {
  std::vector<float> values = floats(tensor);
  values[values.size() / 2] = value;
  tensor.set_requires_grad(false);
  copy_(tensor, Tensor::from_values(values, tensor.shape()));
}

TEST(Optimizer, NumbersThatAreNotFiniteStopTheStepAndAreNamed) {
  const TinyRun run = tiny_lora();
  run.adapter->set_trainable(true);
  Optimizer optimizer(*run.model, run.adapter->tensors(), {});
  const auto batches = batches_of(tiny_dataset(8), {});
  optimizer.step(batches, 1e-2, 0);
  const auto [name, tensor] = run.adapter->tensors()[5];
  for (const float value : {NAN, INFINITY}) {
    const std::vector<float> kept = floats(tensor);
    poison(tensor, value);
    tensor.set_requires_grad(true);
    const std::vector<float> state = floats(optimizer.state());
    EXPECT_EQ(error_of([&] { optimizer.step(batches, 1e-2, 0); }),
              "argument: train_step: step 2: tensor " + name +
                  " holds NaN or infinity; nothing was updated; lower the learning rate or look at "
                  "the data of this step");
    EXPECT_EQ(optimizer.steps(), 1);
    EXPECT_EQ(floats(optimizer.state()), state);
    tensor.set_requires_grad(false);
    copy_(tensor, Tensor::from_values(kept, tensor.shape()));
    tensor.set_requires_grad(true);
  }
  // The same step works once the numbers are right again.
  EXPECT_EQ(optimizer.step(batches, 1e-2, 0)->step, 2);
}

TEST(Optimizer, ABrokenBaseWeightIsNamed) {
  const TinyRun run = tiny_lora();
  run.adapter->set_trainable(true);
  const auto& [name, tensor] = run.model->parameters()[3];
  poison(tensor, NAN);
  Optimizer optimizer(*run.model, run.adapter->tensors(), {});
  const std::vector<float> before = floats(run.adapter->tensors());
  const std::string error =
      error_of([&] { optimizer.step(batches_of(tiny_dataset(8), {}), 1e-2, 0); });
  EXPECT_NE(error.find("step 1: tensor " + name + " holds NaN"), std::string::npos) << error;
  EXPECT_EQ(floats(run.adapter->tensors()), before);
}

TEST(Optimizer, AParameterWithoutAGradientIsNamed) {
  const TinyRun run = tiny_lora();
  run.adapter->set_trainable(true);
  NamedTensors parameters = run.adapter->tensors();
  const Tensor unused = Tensor::zeros({2}, DType::kF32);
  unused.set_requires_grad(true);
  parameters.emplace_back("unused.weight", unused);
  const std::vector<float> before = floats(parameters);
  Optimizer optimizer(*run.model, parameters, {});
  const auto batches = batches_of(tiny_dataset(4), {});
  EXPECT_EQ(error_of([&] { optimizer.step(batches, 1e-2, 0); }),
            "argument: train_step: step 1: unused.weight received no gradient; nothing was "
            "updated; it takes no part in the loss: is its adapter active?");
  EXPECT_EQ(floats(parameters), before);

  // None at all: the adapter is not active.
  run.model->set_active_adapters({});
  Optimizer inactive(*run.model, run.adapter->tensors(), {});
  const std::string error = error_of([&] { inactive.step(batches, 1e-2, 0); });
  EXPECT_NE(error.find("step 1: " + run.adapter->tensors()[0].first + " received no gradient"),
            std::string::npos)
      << error;
}

TEST(Optimizer, BadParametersAreRefused) {
  const TinyRun run = tiny_lora();
  EXPECT_EQ(error_of([&] { Optimizer(*run.model, {}, {}); }),
            "argument: train_step: there is nothing to train");
  const NamedTensors frozen = run.adapter->tensors();
  EXPECT_EQ(error_of([&] { Optimizer(*run.model, frozen, {}); }),
            "argument: train_step: parameter " + frozen[0].first + " does not require a gradient");
  run.adapter->set_trainable(true);
  Optimizer optimizer(*run.model, run.adapter->tensors(), {});
  Dataset silent;
  silent.add(std::vector<std::int32_t>{3, 4}, std::vector<std::uint8_t>{1, 0});
  EXPECT_EQ(error_of([&] { optimizer.step(batches_of(silent, {}), 1e-2, 0); }),
            "argument: train_step: step 1: no token of its samples is a target");
}

TEST(Optimizer, WeightDecaySparesNormsAndBiases) {
  // The gradients are the same, so any difference is decay.
  const auto after = [&](double weight_decay) {
    const auto fresh = CausalLm::create(tiny_config(R"(, "attention_bias": true)"), 7);
    fresh->set_trainable(true);
    Optimizer optimizer(*fresh, fresh->parameters(), {.weight_decay = weight_decay});
    optimizer.step(batches_of(tiny_dataset(4), {}), 1e-2, 0);
    return fresh;
  };
  const auto plain = after(0);
  const auto decayed = after(0.5);
  std::size_t spared = 0;
  for (std::size_t i = 0; i < plain->parameters().size(); ++i) {
    const std::string& name = plain->parameters()[i].first;
    const bool is_spared = name.ends_with(".bias") || name.find("norm") != std::string::npos;
    EXPECT_EQ(floats(plain->parameters()[i].second) == floats(decayed->parameters()[i].second),
              is_spared)
        << name;
    spared += is_spared ? 1 : 0;
  }
  EXPECT_EQ(spared, 5U + 8U);
}

TEST(Optimizer, StateIsTakenOverOrRefusedAsAWhole) {
  const TinyRun run = tiny_lora();
  run.adapter->set_trainable(true);
  const auto batches = batches_of(tiny_dataset(8), {});
  Optimizer optimizer(*run.model, run.adapter->tensors(), {});
  optimizer.step(batches, 1e-2, 0);
  optimizer.step(batches, 1e-2, 0);
  Optimizer other(*run.model, run.adapter->tensors(), {});
  NamedTensors state = optimizer.state();
  const std::string last = state.back().first;
  state.back().second = Tensor::zeros({3}, DType::kF32);
  EXPECT_NE(error_of([&] { other.set_state(state, 2); }).find(last + " must be f32"),
            std::string::npos);
  state.back().first = "v.elsewhere";
  EXPECT_EQ(error_of([&] { other.set_state(state, 2); }),
            "argument: train_step: the optimizer state lacks " + last);
  NamedTensors more = optimizer.state();
  more.emplace_back("m.elsewhere", Tensor::zeros({3}, DType::kF32));
  EXPECT_EQ(error_of([&] { other.set_state(more, 2); }),
            "argument: train_step: the optimizer state has tensors of parameters that are not "
            "trained");
  EXPECT_EQ(other.steps(), 0);
  const std::vector<float> untouched = floats(other.state());
  EXPECT_TRUE(std::ranges::all_of(untouched, [](float value) { return value == 0; }));
  other.set_state(optimizer.state(), 2);
  EXPECT_EQ(other.steps(), 2);
  EXPECT_EQ(floats(other.state()), floats(optimizer.state()));
}

}  // namespace

}  // namespace wick::test
