// Training where memory ends: a limit of the allocator stands for the device's.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "train/run_support.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/train/trainer.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;

// No more than so many bytes of tensors while it lives.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::int64_t bytes) {
    empty_cache(kCpuDevice);
    set_memory_limit(kCpuDevice, bytes);
  }
  ~MemoryLimit() { set_memory_limit(kCpuDevice, 0); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
};

// Activations are most of what its steps hold.
ModelConfig wide_config() {
  return parse_model_config(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "vocab_size": 61, "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 4,
      "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256,
      "rms_norm_eps": 1e-6, "hidden_act": "silu", "initializer_range": 0.2,
      "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2})");
}

Dataset even_dataset(std::int64_t length = 128) {
  Dataset dataset;
  for (std::int32_t sample = 0; sample < 16; ++sample) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<std::int32_t>((static_cast<std::size_t>(sample) + i * 7) % 61);
    }
    dataset.add(ids, std::vector<std::uint8_t>(ids.size(), 1));
  }
  return dataset;
}

struct LimitedRun {
  TinyRun parts = tiny_lora({}, wide_config());
  Trainer trainer;
  explicit LimitedRun(const TrainerOptions& options)
      : trainer(parts.model, parts.adapter, even_dataset(), {}, options) {}
  std::vector<float> values() const { return floats(parts.adapter->tensors()); }
};

TrainerOptions options_for(const fs::path& output_dir = {}) {
  TrainerOptions options;
  options.output_dir = output_dir;
  options.max_steps = 4;
  options.learning_rate = 1e-2;
  options.batches = {.batch_size = 4, .max_seq_length = 128};
  options.compute.selective_checkpointing = false;
  return options;
}

struct Followed {
  std::vector<double> losses;
  std::vector<float> values;
  std::vector<ComputeOptions> again;
  std::int64_t peak = 0;
};

Followed follow(const TrainerOptions& options) {
  LimitedRun run(options);
  Followed followed;
  reset_peak_memory(kCpuDevice);
  run.trainer.run(
      {.on_step = [&](const StepReport& report) { followed.losses.push_back(report.loss); },
       .on_out_of_memory =
           [&](const Error& error, const MemoryForecast& forecast) {
             EXPECT_EQ(error.kind(), ErrorKind::kOutOfMemory);
             followed.again.push_back(forecast.compute);
           }});
  followed.peak = memory_stats(kCpuDevice).peak_bytes;
  followed.values = run.values();
  return followed;
}

TEST(OutOfMemory, AStepGoesOnInACheaperWayWithTheSameBits) {
  const Followed free = follow(options_for());
  EXPECT_TRUE(free.again.empty());
  TrainerOptions selective = options_for();
  selective.compute.selective_checkpointing = true;
  TrainerOptions full = selective;
  full.compute.checkpointed_layers = 4;
  const std::int64_t peaks[] = {follow(full).peak, follow(selective).peak, free.peak};
  ASSERT_LT(peaks[0], peaks[1]);
  ASSERT_LT(peaks[1], peaks[2]);
  for (const int way : {0, 1}) {
    SCOPED_TRACE(way);
    const MemoryLimit limit((peaks[way] + peaks[way + 1]) / 2);
    const Followed tight = follow(options_for());
    ASSERT_FALSE(tight.again.empty());
    EXPECT_TRUE(tight.again.back().selective_checkpointing);
    EXPECT_EQ(tight.again.back().checkpointed_layers > 0, way == 0);
    EXPECT_EQ(tight.losses, free.losses);
    EXPECT_EQ(tight.values, free.values);
  }
}

TEST(OutOfMemory, WhereNothingFitsTheRunEndsWithAWholeCheckpoint) {
  const TempFolder folder;
  const Followed unbroken = follow(options_for(folder.path() / "unbroken"));
  const TrainerOptions options = options_for(folder.path() / "broken");
  std::string text;
  {
    LimitedRun run(options);
    const MemoryLimit later(0);
    const auto end_of_memory = [](const StepReport& report) {
      if (report.step == 3) {
        empty_cache(kCpuDevice);
        set_memory_limit(kCpuDevice, memory_stats(kCpuDevice).live_bytes + (96 << 10));
      }
    };
    text = error_of([&] { run.trainer.run({.on_step = end_of_memory}); });
  }
  for (const std::string part :
       {"out of memory: train: step 4: cpu has no room for ", " bytes: ", "; live then: weights",
        ", adapter ", ", optimizer ", "activations, gradients and logits ",
        "; the forecast was weights ", "no smaller step fits beside what is there",
        "the last good checkpoint is ", "checkpoint-3"}) {
    EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in " << text;
  }
  // Nothing half written lies beside it, and it is the run's third step to the bit.
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path() / "broken")) {
    names.push_back(entry.path().filename().string());
  }
  EXPECT_EQ(names, std::vector<std::string>{"checkpoint-3"});
  LimitedRun resumed(options);
  resumed.trainer.resume(*Trainer::latest_checkpoint(options.output_dir));
  EXPECT_EQ(resumed.trainer.steps(), 3);
  resumed.trainer.run();
  EXPECT_EQ(resumed.values(), unbroken.values);
}

TEST(OutOfMemory, TheStepThatWouldFitDoes) {
  const TempFolder folder;
  TrainerOptions cheapest = options_for();
  cheapest.compute = {
      .selective_checkpointing = true, .checkpointed_layers = 4, .loss_chunk_rows = 16};
  cheapest.batches.batch_size = 2;
  const MemoryLimit limit(follow(cheapest).peak * 11 / 10);
  const std::string text = error_of([&] { follow(options_for()); });
  const std::string before = "batch_size ";
  const std::size_t found = text.find(before);
  ASSERT_NE(found, std::string::npos) << text;
  EXPECT_NE(text.find(" would fit with gradient checkpointing; no checkpoint was written yet"),
            std::string::npos)
      << text;
  TrainerOptions smaller = options_for();
  smaller.batches.batch_size = std::stol(text.substr(found + before.size()));
  EXPECT_GE(smaller.batches.batch_size, 1);
  EXPECT_LT(smaller.batches.batch_size, 4);
  EXPECT_EQ(follow(smaller).losses.size(), 4U);
}

TEST(OutOfMemory, WithoutAnAnswerTheStepThrowsAndChangesNothing) {
  LimitedRun run(options_for());
  run.parts.adapter->set_trainable(true);
  Optimizer optimizer(*run.parts.model, run.parts.adapter->tensors(), {});
  const Dataset data = even_dataset();
  const EpochPlan plan(data, {.batch_size = 4, .max_seq_length = 128}, 0);
  const std::vector<MicroBatch> batches{plan.batch(0)};
  const std::vector<float> before = run.values();
  int asked = 0;
  for (const bool answers : {false, true}) {
    if (answers) {
      optimizer.set_on_out_of_memory([&](const Error&) {
        ++asked;
        return std::nullopt;
      });
    }
    const MemoryLimit limit(memory_stats(kCpuDevice).live_bytes + (96 << 10));
    const std::string text = error_of([&] { optimizer.step(batches, 1e-2, 1); });
    EXPECT_TRUE(text.starts_with("out of memory: allocate: cpu has no room for ")) << text;
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(run.values(), before);
  EXPECT_EQ(optimizer.steps(), 0);
  for (const auto& [name, tensor] : optimizer.parameters()) EXPECT_FALSE(tensor.grad().defined());
  EXPECT_TRUE(optimizer.step(batches, 1e-2, 1).has_value());
}

}  // namespace

}  // namespace wick::test
