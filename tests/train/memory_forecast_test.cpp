#include "wick/train/memory_forecast.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "train/run_support.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/train/trainer.hpp"

namespace wick::test {

namespace {

// A run whose peak is measured.
struct Case {
  std::string name;
  std::int64_t vocabulary = 500;
  std::int64_t hidden = 64;
  std::int64_t layers = 3;
  std::int64_t batch_size = 2;
  std::int64_t length = 256;
  std::string kind = "lora";  // of every linear layer; or dora, head, upper, full
  double dropout = 0;
  bool packing = false;
  std::int64_t accumulation = 1;
  bool tied = false;
  ComputeOptions compute = {};
  DType dtype = DType::kF32;  // of activations
  bool f32_weights = false;   // under activations of 16 bits
};

ModelConfig config_of(const Case& test) {
  return parse_model_config(fmt::format(
      R"({{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": {},
          "hidden_size": {}, "intermediate_size": {}, "num_hidden_layers": {},
          "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": {},
          "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "hidden_act": "silu",
          "tie_word_embeddings": {}}})",
      test.vocabulary, test.hidden, 3 * test.hidden, test.layers, test.hidden / 4, test.tied));
}

struct Parts {
  std::shared_ptr<CausalLm> model;
  std::shared_ptr<LoraAdapter> adapter;
  TrainerOptions options;
  Dataset data;
};

// New models have f32 weights; those of a file are converted to the dtype of activations.
std::shared_ptr<CausalLm> model_of(const Case& test) {
  auto model = CausalLm::create(config_of(test), 1, kCpuDevice, test.dtype);
  if (test.dtype == DType::kF32 || test.f32_weights) return model;
  const TempFolder folder;
  model->write_files(folder.path());
  return CausalLm::load(folder.path(), {.compute_dtype = test.dtype});
}

Parts parts_of(const Case& test) {
  Parts parts{.model = model_of(test)};
  parts.options.max_steps = 1;
  parts.options.batches = {
      .batch_size = test.batch_size, .max_seq_length = test.length, .packing = test.packing};
  parts.options.gradient_accumulation_steps = test.accumulation;
  parts.options.compute = test.compute;
  const std::int64_t samples = test.batch_size * test.accumulation;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(test.length));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 7 % 499);
  for (std::int64_t i = 0; i < samples; ++i) {
    parts.data.add(ids, std::vector<std::uint8_t>(ids.size(), 1));
  }
  if (test.kind == "full") {
    parts.options.fine_tune_type = FineTuneType::kFull;
    return parts;
  }
  LoraConfig lora;
  lora.lora_dropout = test.dropout;
  lora.use_dora = test.kind == "dora";
  lora.target_modules.all_linear = test.kind != "head";
  if (test.kind == "head") lora.target_modules.suffixes = {"q_proj", "lm_head"};
  if (test.kind == "upper") lora.layers_to_transform = std::vector<std::int64_t>{test.layers - 1};
  parts.adapter = LoraAdapter::create(lora, parts.model->lora_host(), 1);
  parts.model->add_adapter("default", parts.adapter);
  parts.model->set_active_adapters({{"default"}});
  return parts;
}

Trainer trainer_of(const Parts& parts) {
  return Trainer(parts.model, parts.adapter, parts.data, {}, parts.options);
}

class Forecast : public ::testing::TestWithParam<Case> {};

TEST_P(Forecast, IsNearThePeak) {
  const Parts parts = parts_of(GetParam());
  empty_cache(kCpuDevice);
  const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
  Trainer trainer = trainer_of(parts);
  reset_peak_memory(kCpuDevice);
  trainer.run();
  const MemoryForecast& forecast = trainer.forecast();
  // Weights and adapter are there before.
  ASSERT_GE(before, forecast.weights);
  const std::int64_t peak = memory_stats(kCpuDevice).peak_bytes;
  RecordProperty("forecast_bytes", std::to_string(forecast.total()));
  RecordProperty("peak_bytes", std::to_string(peak));
  const double ratio = static_cast<double>(forecast.total()) / static_cast<double>(peak);
  EXPECT_GT(ratio, 0.87) << to_string(forecast);
  EXPECT_LT(ratio, 1.15) << to_string(forecast);
}

INSTANTIATE_TEST_SUITE_P(
    Runs, Forecast,
    ::testing::Values(
        Case{.name = "lora"},
        Case{.name = "lora_keeps_all", .compute = {.selective_checkpointing = false}},
        Case{.name = "lora_dropout", .dropout = 0.1}, Case{.name = "dora", .kind = "dora"},
        Case{.name = "dora_dropout", .kind = "dora", .dropout = 0.1},
        Case{.name = "dora_dropout_keeps_all",
             .kind = "dora",
             .dropout = 0.1,
             .compute = {.selective_checkpointing = false}},
        Case{.name = "head", .vocabulary = 9000, .kind = "head"},
        Case{.name = "upper_layer", .layers = 6, .kind = "upper"},
        Case{.name = "packed", .packing = true},
        Case{.name = "accumulated", .batch_size = 1, .accumulation = 3},
        Case{.name = "one_layer_again", .compute = {.checkpointed_layers = 1}},
        Case{.name = "all_layers_again", .layers = 5, .compute = {.checkpointed_layers = 99}},
        Case{.name = "full", .kind = "full"},
        Case{.name = "full_keeps_all",
             .kind = "full",
             .compute = {.selective_checkpointing = false}},
        Case{.name = "full_accumulated", .kind = "full", .accumulation = 2},
        Case{.name = "full_tied", .kind = "full", .tied = true},
        Case{.name = "full_small_batch", .batch_size = 1, .length = 16, .kind = "full"},
        Case{.name = "full_again", .kind = "full", .compute = {.checkpointed_layers = 99}},
        Case{.name = "large_vocabulary", .vocabulary = 152064, .hidden = 16},
        Case{.name = "large_vocabulary_small_chunks",
             .vocabulary = 152064,
             .hidden = 16,
             .compute = {.loss_chunk_rows = 16}},
        Case{.name = "large_vocabulary_full",
             .vocabulary = 152064,
             .hidden = 16,
             .kind = "full",
             .tied = true},
        Case{.name = "tokens_2k", .hidden = 32, .batch_size = 1, .length = 2048},
        Case{.name = "bf16", .dtype = DType::kBF16},
        Case{.name = "bf16_keeps_all",
             .compute = {.selective_checkpointing = false},
             .dtype = DType::kBF16},
        Case{.name = "bf16_f32_weights", .dtype = DType::kBF16, .f32_weights = true},
        Case{.name = "bf16_dora_dropout", .kind = "dora", .dropout = 0.1, .dtype = DType::kBF16},
        Case{.name = "bf16_head", .vocabulary = 9000, .kind = "head", .dtype = DType::kBF16},
        Case{.name = "bf16_layers_again",
             .layers = 5,
             .compute = {.checkpointed_layers = 99},
             .dtype = DType::kBF16},
        Case{.name = "bf16_large_vocabulary",
             .vocabulary = 152064,
             .hidden = 16,
             .dtype = DType::kBF16},
        Case{.name = "f16_full", .kind = "full", .dtype = DType::kF16, .f32_weights = true},
        Case{.name = "bf16_full_again",
             .kind = "full",
             .compute = {.checkpointed_layers = 99},
             .dtype = DType::kBF16,
             .f32_weights = true},
        Case{.name = "bf16_large_vocabulary_full",
             .vocabulary = 152064,
             .hidden = 16,
             .kind = "full",
             .tied = true,
             .dtype = DType::kBF16,
             .f32_weights = true},
        Case{.name = "tokens_8k_packed",
             .hidden = 16,
             .layers = 2,
             .batch_size = 1,
             .length = 8192,
             .packing = true}),
    [](const auto& test) { return test.param.name; });

// Forecasts for 0, 1, … recomputed layers.
std::vector<std::int64_t> totals_by_layers(const Case& test) {
  std::vector<std::int64_t> totals;
  for (std::int64_t layers = 0; layers <= test.layers; ++layers) {
    Case one = test;
    one.compute.checkpointed_layers = layers;
    totals.push_back(trainer_of(parts_of(one)).forecast().total());
  }
  return totals;
}

TEST(MemoryBudget, TakesTheFewestRecomputedLayersThatFit) {
  const Case test{.layers = 5};
  const std::vector<std::int64_t> totals = totals_by_layers(test);
  // To run the last layer again helps the loss alone, and here its own gradient is the peak.
  for (std::size_t layers = 0; layers + 1 < totals.size(); ++layers) {
    if (layers > 0) {
      ASSERT_LT(totals[layers], totals[layers - 1]);
    }
    Parts parts = parts_of(test);
    parts.options.memory_budget = totals[layers];
    Trainer trainer = trainer_of(parts);
    EXPECT_EQ(trainer.forecast().compute.checkpointed_layers, static_cast<std::int64_t>(layers));
    EXPECT_EQ(trainer.forecast().compute.loss_chunk_rows, 0);
    EXPECT_EQ(trainer.forecast().total(), totals[layers]);
    empty_cache(kCpuDevice);
    reset_peak_memory(kCpuDevice);
    trainer.run();
    EXPECT_LT(memory_stats(kCpuDevice).peak_bytes, totals[layers] * 115 / 100);
  }
}

TEST(MemoryBudget, TakesSelectiveCheckpointingBeforeRecomputedLayers) {
  Case test;
  const std::int64_t selective = trainer_of(parts_of(test)).forecast().total();
  test.compute.selective_checkpointing = false;
  const std::int64_t plain = trainer_of(parts_of(test)).forecast().total();
  ASSERT_LT(selective, plain);
  const auto chosen_for = [&](std::int64_t budget) {
    Parts parts = parts_of(test);
    parts.options.memory_budget = budget;
    return trainer_of(parts).forecast().compute;
  };
  EXPECT_FALSE(chosen_for(plain).selective_checkpointing);
  EXPECT_TRUE(chosen_for(plain - 1).selective_checkpointing);
  EXPECT_EQ(chosen_for(selective).checkpointed_layers, 0);
  const ComputeOptions both = chosen_for(selective - 1);
  EXPECT_TRUE(both.selective_checkpointing);
  EXPECT_EQ(both.checkpointed_layers, 1);
}

TEST(MemoryBudget, ThenSmallerChunksOfLogits) {
  const Case test{.vocabulary = 30000, .hidden = 16, .layers = 2};
  Parts parts = parts_of(test);
  parts.options.memory_budget = totals_by_layers(test).back() - 1;
  const MemoryForecast forecast = trainer_of(parts).forecast();
  EXPECT_EQ(forecast.compute.checkpointed_layers, 2);
  EXPECT_GT(forecast.compute.loss_chunk_rows, 16);
  EXPECT_LE(forecast.total(), parts.options.memory_budget);
  EXPECT_EQ(forecast.logits, forecast.compute.loss_chunk_rows * 30000 * 4);
}

TEST(MemoryBudget, WhatTheUserAskedForIsTheLeast) {
  Parts parts = parts_of({});
  parts.options.compute.checkpointed_layers = std::numeric_limits<std::int32_t>::max();
  for (const std::int64_t budget : {std::int64_t{0}, std::int64_t{1} << 40}) {
    parts.options.memory_budget = budget;
    const MemoryForecast forecast = trainer_of(parts).forecast();
    EXPECT_EQ(forecast.compute.checkpointed_layers, 3);
    EXPECT_EQ(forecast.compute.loss_chunk_rows, 0);
  }
}

TEST(MemoryBudget, RefusesBeforeAnythingIsAllocated) {
  for (const std::string kind : {"lora", "full"}) {
    Parts parts = parts_of({.kind = kind});
    parts.options.memory_budget = 1 << 20;
    const MemoryStats before = memory_stats(kCpuDevice);
    const std::string error = error_of([&] { trainer_of(parts); });
    EXPECT_TRUE(
        error.starts_with("out of memory: train: the smallest way to compute needs "
                          "weights "))
        << error;
    EXPECT_TRUE(
        error.ends_with("(3 layers computed again in backward), the memory budget is 1.0 "
                        "MiB; reduce batch_size or max_seq_length"))
        << error;
    EXPECT_EQ(memory_stats(kCpuDevice).num_allocations, before.num_allocations);
    for (const auto& [name, tensor] : parts.model->parameters()) {
      EXPECT_FALSE(tensor.requires_grad());
    }
  }
}

TEST(MemoryForecast, IsWrittenForPeople) {
  const MemoryForecast forecast{.weights = 3 << 20,
                                .adapter = 1 << 19,
                                .optimizer = 1 << 10,
                                .activations = std::int64_t{5} << 29,
                                .logits = 1 << 20,
                                .compute = {.checkpointed_layers = 2}};
  EXPECT_EQ(to_string(forecast),
            "weights 3.0 MiB + adapter and gradients 512.0 KiB + optimizer 1.0 KiB + activations "
            "2.50 GiB + logits 1.0 MiB = 2.50 GiB (2 layers computed again in backward)");
}

}  // namespace

}  // namespace wick::test
