#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "train/digest.hpp"
#include "train/run_support.hpp"
#include "wick/runtime/settings.hpp"
#include "wick/train/trainer.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;

// What a run is made of; each test changes what it is about.
struct Recipe {
  TrainerOptions options;
  LoraConfig lora;
  std::int64_t samples = 22;
  std::uint32_t data_seed = 1;
  std::int64_t held_out = 7;
  std::uint64_t model_seed = 7;
  DType compute_dtype = DType::kF32;

  Recipe() {
    options.max_steps = 13;
    options.learning_rate = 1e-2;
    options.lr_scheduler_type = ScheduleType::kCosine;
    options.warmup_steps = 3;
    options.batches = {.batch_size = 3, .max_seq_length = 48};
    options.optimizer.weight_decay = 0.01;
    options.save_steps = 4;
    lora.target_modules.all_linear = true;
  }
};

struct Session {
  std::unique_ptr<Trainer> trainer;
  TinyRun parts;

  Session(const Recipe& recipe, const fs::path& output_dir) {
    TrainerOptions options = recipe.options;
    options.output_dir = output_dir;
    parts.model =
        CausalLm::create(tiny_config(), recipe.model_seed, kCpuDevice, recipe.compute_dtype);
    if (options.fine_tune_type == FineTuneType::kLora) {
      parts.adapter = LoraAdapter::create(recipe.lora, parts.model->lora_host(), 11);
      parts.model->add_adapter("default", parts.adapter);
      parts.model->set_active_adapters({{"default"}});
    }
    trainer = std::make_unique<Trainer>(parts.model, parts.adapter,
                                        tiny_dataset(recipe.samples, recipe.data_seed),
                                        tiny_dataset(recipe.held_out, 9), options);
  }
};

void expect_same_files(const fs::path& got, const fs::path& expected) {
  const auto files = folder_bytes(got);
  const auto wanted = folder_bytes(expected);
  EXPECT_EQ(names_in(files), names_in(wanted));
  for (const auto& [name, bytes] : wanted) {
    EXPECT_TRUE(files.contains(name) && files.at(name) == bytes) << name << " differs";
  }
}

void copy_folder(const fs::path& from, const fs::path& to) {
  fs::create_directories(to.parent_path());
  fs::copy(from, to, fs::copy_options::recursive);
}

// The checkpoints of a folder, oldest first.
std::vector<fs::path> checkpoints_of(const fs::path& folder) {
  std::vector<fs::path> found;
  for (std::int64_t step = 1; step <= 40; ++step) {
    const fs::path path = folder / ("checkpoint-" + std::to_string(step));
    if (fs::exists(path)) found.push_back(path);
  }
  return found;
}

// Resumes from each checkpoint of an unbroken run, as if the run had been killed before it wrote the next, and ends in
// the same bytes: result, checkpoints with optimizer and state.
void expect_every_checkpoint_leads_to_the_end(const Recipe& recipe) {
  const TempFolder folder;
  const fs::path whole = folder.path() / "whole";
  const TrainResult expected = Session(recipe, whole).trainer->run();
  const std::vector<fs::path> checkpoints = checkpoints_of(whole);
  ASSERT_GE(checkpoints.size(), 4U);
  for (std::size_t i = 0; i < checkpoints.size(); ++i) {
    SCOPED_TRACE(checkpoints[i].filename().string());
    const fs::path broken = folder.path() / ("broken-" + std::to_string(i));
    for (std::size_t j = 0; j <= i; ++j) {
      copy_folder(checkpoints[j], broken / checkpoints[j].filename());
    }
    const Session run(recipe, broken);
    run.trainer->resume(*Trainer::latest_checkpoint(broken));
    const TrainResult result = run.trainer->run();
    EXPECT_EQ(result.end, expected.end);
    EXPECT_EQ(result.steps, expected.steps);
    EXPECT_EQ(result.last_loss, expected.last_loss);
    EXPECT_EQ(result.best_eval->step, expected.best_eval->step);
    EXPECT_EQ(result.best_eval->loss, expected.best_eval->loss);
    expect_same_files(broken, whole);
  }
}

TEST(Resume, LoraWithDropoutAndAccumulation) {
  Recipe recipe;
  recipe.lora.lora_dropout = 0.3;
  recipe.options.gradient_accumulation_steps = 2;
  expect_every_checkpoint_leads_to_the_end(recipe);
}

TEST(Resume, DoraWithPacking) {
  Recipe recipe;
  recipe.lora.use_dora = true;
  recipe.options.batches.packing = true;
  recipe.options.batches.batch_size = 2;
  expect_every_checkpoint_leads_to_the_end(recipe);
}

TEST(Resume, FullFineTuning) {
  Recipe recipe;
  recipe.options.fine_tune_type = FineTuneType::kFull;
  recipe.options.max_steps = 0;
  recipe.options.num_train_epochs = 1.6;
  expect_every_checkpoint_leads_to_the_end(recipe);
}

TEST(Resume, ActivationsOf16Bits) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    Recipe recipe;
    recipe.compute_dtype = dtype;
    recipe.lora.lora_dropout = 0.2;
    recipe.lora.use_dora = dtype == DType::kF16;
    recipe.options.gradient_accumulation_steps = 2;
    expect_every_checkpoint_leads_to_the_end(recipe);
  }
}

TEST(Resume, FullFineTuningWithActivationsOf16Bits) {
  Recipe recipe;
  recipe.compute_dtype = DType::kBF16;
  recipe.options.fine_tune_type = FineTuneType::kFull;
  expect_every_checkpoint_leads_to_the_end(recipe);
}

// Stops a run where it asks for the n-th time, in steps and in evaluations, and resumes it.
void expect_that_stopping_changes_nothing(const Recipe& recipe) {
  const TempFolder folder;
  const fs::path whole = folder.path() / "whole";
  int asked = 0;
  const TrainResult expected = Session(recipe, whole).trainer->run({.should_stop = [&] {
    ++asked;
    return false;
  }});
  const auto wanted = folder_bytes(whole);
  for (int stop_at = asked; stop_at > 0; --stop_at) {
    SCOPED_TRACE(stop_at);
    const fs::path broken = folder.path() / ("broken-" + std::to_string(stop_at));
    int count = 0;
    const TrainResult stopped =
        Session(recipe, broken).trainer->run({.should_stop = [&] { return ++count == stop_at; }});
    ASSERT_EQ(stopped.end, TrainResult::End::kStopped);
    EXPECT_EQ(count, stop_at);  // it stopped at once
    EXPECT_FALSE(fs::exists(broken / "adapter_model.safetensors"));
    const Session run(recipe, broken);
    const auto checkpoint = Trainer::latest_checkpoint(broken);
    EXPECT_EQ(checkpoint.has_value(), stopped.steps > 0);
    if (checkpoint) run.trainer->resume(*checkpoint);
    const TrainResult result = run.trainer->run();
    EXPECT_EQ(result.end, expected.end);
    EXPECT_EQ(result.best_eval->step, expected.best_eval->step);
    EXPECT_EQ(result.best_eval->loss, expected.best_eval->loss);
    const auto files = folder_bytes(broken);
    for (const auto& [name, bytes] : wanted) {
      EXPECT_TRUE(files.contains(name) && files.at(name) == bytes) << name << " differs";
    }
    fs::remove_all(broken);
  }
}

TEST(Resume, StoppingAnywhereChangesNothing) {
  Recipe recipe;
  recipe.options.max_steps = 6;
  recipe.options.eval_steps = 2;
  recipe.options.save_steps = 4;
  expect_that_stopping_changes_nothing(recipe);
  recipe.options.load_best_model_at_end = true;
  recipe.options.early_stopping_patience = 1;
  recipe.options.learning_rate = 0.15;
  recipe.options.lr_scheduler_type = ScheduleType::kConstant;
  expect_that_stopping_changes_nothing(recipe);
}

TEST(Resume, BestOfARunThatStopsEarly) {
  Recipe recipe;
  recipe.options.learning_rate = 0.07;
  recipe.options.lr_scheduler_type = ScheduleType::kConstant;
  recipe.options.eval_steps = 2;
  recipe.options.max_steps = 20;
  recipe.options.early_stopping_patience = 3;
  recipe.options.load_best_model_at_end = true;
  {
    const TempFolder folder;
    const TrainResult result = Session(recipe, folder.path()).trainer->run();
    ASSERT_EQ(result.end, TrainResult::End::kEarlyStopping);
    ASSERT_GT(result.best_eval->step, 1);
  }
  expect_every_checkpoint_leads_to_the_end(recipe);
}

TEST(Resume, BestIsFoundFromEveryCheckpointThatIsKept) {
  Recipe recipe;
  recipe.options.learning_rate = 0.15;
  recipe.options.lr_scheduler_type = ScheduleType::kConstant;
  recipe.options.eval_steps = 3;
  recipe.options.save_steps = 1;
  recipe.options.save_total_limit = 3;
  recipe.options.load_best_model_at_end = true;
  const TempFolder folder;
  const fs::path whole = folder.path() / "whole";
  Session(recipe, whole).trainer->run();
  const std::vector<fs::path> kept = checkpoints_of(whole);
  ASSERT_LE(kept.size(), 6U);
  for (const fs::path& checkpoint : kept) {
    SCOPED_TRACE(checkpoint.filename().string());
    const fs::path again = folder.path() / ("again-" + checkpoint.filename().string());
    const Session run(recipe, again);
    // Into another folder: the best so far stays where it is.
    run.trainer->resume(checkpoint);
    run.trainer->run();
    EXPECT_EQ(file_bytes(again / "adapter_model.safetensors"),
              file_bytes(whole / "adapter_model.safetensors"));
  }
}

TEST(Resume, ABestThatIsGoneIsSaidAtOnce) {
  Recipe recipe;
  recipe.options.learning_rate = 0;
  recipe.options.eval_steps = 1;
  recipe.options.load_best_model_at_end = true;
  const TempFolder folder;
  Session(recipe, folder.path()).trainer->run();
  fs::remove_all(folder.path() / "checkpoint-1");
  EXPECT_EQ(
      error_of(
          [&] { Session(recipe, folder.path()).trainer->resume(folder.path() / "checkpoint-4"); },
          folder.path()),
      "argument: train: checkpoint-1 is missing: it holds the best tensors up to checkpoint-4");
}

TEST(Resume, AFinishedRunIsFinishedAgain) {
  const TempFolder folder;
  const Recipe recipe;
  const fs::path whole = folder.path() / "whole";
  Session(recipe, whole).trainer->run();
  const auto before = folder_bytes(whole);
  // Killed between the last checkpoint and the result.
  fs::remove(whole / "adapter_model.safetensors");
  const Session run(recipe, whole);
  run.trainer->resume(whole / "checkpoint-13/");
  EXPECT_EQ(run.trainer->steps(), 13);
  const TrainResult result = run.trainer->run();
  EXPECT_EQ(result.steps, 13);
  EXPECT_GT(result.last_loss, 0);
  EXPECT_EQ(folder_bytes(whole), before);
}

TEST(Resume, HowItIsComputedMayChange) {
  const TempFolder folder;
  Recipe recipe;
  recipe.options.max_steps = 6;
  recipe.options.save_steps = 2;
  Session(recipe, folder.path() / "whole").trainer->run();
  copy_folder(folder.path() / "whole" / "checkpoint-2", folder.path() / "broken" / "checkpoint-2");
  Recipe other = recipe;
  other.options.compute.checkpointed_layers = 1;
  const int threads = num_threads();
  set_num_threads(threads == 1 ? 3 : 1);
  const Session run(other, folder.path() / "broken");
  run.trainer->resume(folder.path() / "broken" / "checkpoint-2");
  run.trainer->run();
  set_num_threads(threads);
  expect_same_files(folder.path() / "broken", folder.path() / "whole");
}

TEST(Resume, OtherSettingsAreRefusedByName) {
  const TempFolder folder;
  Recipe recipe;
  recipe.options.max_steps = 2;
  Session(recipe, folder.path()).trainer->run();
  const fs::path checkpoint = folder.path() / "checkpoint-2";
  const auto refused = [&](const std::function<void(Recipe&)>& change) {
    Recipe other = recipe;
    change(other);
    const Session run(other, folder.path());
    const NamedTensors trained =
        run.parts.adapter ? run.parts.adapter->tensors() : run.parts.model->parameters();
    const std::vector<float> before = floats(trained);
    std::string text = error_of([&] { run.trainer->resume(checkpoint); }, folder.path());
    EXPECT_EQ(floats(trained), before);
    EXPECT_EQ(run.trainer->steps(), 0);
    const std::string begin = "argument: resume: checkpoint-2: the run had other settings: ";
    const std::string end = "; resume with the settings of the checkpoint, or start a new run";
    if (!text.starts_with(begin) || !text.ends_with(end)) return "unexpected: " + text;
    return text.substr(begin.size(), text.size() - begin.size() - end.size());
  };
  EXPECT_EQ(refused([](Recipe& r) { r.options.learning_rate = 0.5; }),
            "learning_rate was 0.01 and is 0.5");
  EXPECT_EQ(refused([](Recipe& r) { r.options.max_steps = 9; }), "total_steps was 2 and is 9");
  EXPECT_EQ(refused([](Recipe& r) { r.options.batches.packing = true, r.options.seed = 1; }),
            "packing was false and is true, seed was 42 and is 1");
  EXPECT_EQ(refused([](Recipe& r) { r.lora.lora_alpha = 4, r.lora.lora_dropout = 0.5; }),
            "lora_alpha was 8 and is 4, lora_dropout was 0.0 and is 0.5");
  EXPECT_EQ(refused([](Recipe& r) { r.compute_dtype = DType::kBF16; }),
            "compute_dtype was \"f32\" and is \"bf16\"");
  EXPECT_EQ(refused([](Recipe& r) { r.data_seed = 2; }), "the training data differs");
  EXPECT_EQ(refused([](Recipe& r) { r.held_out = 8; }), "the evaluation data differs");
  EXPECT_EQ(refused([](Recipe& r) { r.model_seed = 8; }), "the base model differs");
  EXPECT_TRUE(refused([](Recipe& r) {
                r.options.fine_tune_type = FineTuneType::kFull;
              }).starts_with("the base model differs, fine_tune_type was \"lora\" and is "));
}

// Damages a file of a copy of a checkpoint and says what resume() says.
class Damage : public ::testing::Test {
 protected:
  void SetUp() override {
    recipe_.options.max_steps = 2;
    Session(recipe_, folder_.path()).trainer->run();
  }

  std::string after(const std::string& file, const std::function<void(std::string&)>& change) {
    const fs::path copy = folder_.path() / "copy" / "checkpoint-2";
    fs::remove_all(copy);
    copy_folder(folder_.path() / "checkpoint-2", copy);
    std::string bytes = file_bytes(copy / file);
    change(bytes);
    std::ofstream(copy / file, std::ios::binary) << bytes;
    const Session run(recipe_, folder_.path());
    const std::vector<float> before = floats(run.parts.adapter->tensors());
    std::string text = error_of([&] { run.trainer->resume(copy); }, copy);
    EXPECT_EQ(floats(run.parts.adapter->tensors()), before);
    EXPECT_EQ(run.trainer->steps(), 0);
    return text;
  }

  TempFolder folder_;
  Recipe recipe_;
};

TEST_F(Damage, OfAnyFileIsFound) {
  const auto flip = [](std::string& bytes) { bytes[bytes.size() - 9] ^= 4; };
  const auto cut = [](std::string& bytes) { bytes.resize(bytes.size() - 9); };
  const auto empty = [](std::string& bytes) { bytes.clear(); };
  for (const std::string file :
       {"adapter_model.safetensors", "optimizer.safetensors", "adapter_config.json"}) {
    EXPECT_EQ(after(file, flip), "parse: " + file +
                                     ": is damaged: its bytes are not those that were written; "
                                     "resume from another checkpoint");
    const auto size = fs::file_size(folder_.path() / "checkpoint-2" / file);
    EXPECT_EQ(after(file, cut), "parse: " + file + ": has " + std::to_string(size - 9) +
                                    " bytes, but " + std::to_string(size) +
                                    " were written; resume from another checkpoint");
    EXPECT_TRUE(after(file, empty).starts_with("parse: " + file + ": has 0 bytes, but "));
  }
  const std::string state = "trainer_state.json";
  EXPECT_TRUE(after(state, cut).starts_with("parse: trainer_state.json: "));
  EXPECT_TRUE(after(state, empty).starts_with("parse: trainer_state.json: "));
  EXPECT_EQ(after(state,
                  [](std::string& text) {
                    const auto at = text.find("\"micro_batch\": 2");
                    ASSERT_NE(at, std::string::npos);
                    text.replace(at, 16, "\"micro_batch\": 3");
                  }),
            "parse: trainer_state.json: is damaged: its content is not what was written; resume "
            "from another checkpoint");
  EXPECT_TRUE(after(state, [](std::string& text) {
                const auto at = text.find("\"format_version\": 1");
                ASSERT_NE(at, std::string::npos);
                text.replace(at, 19, "\"format_version\": 2");
              }).starts_with("parse: trainer_state.json: format_version: must be 1"));
}

TEST_F(Damage, AMissingFileIsNamed) {
  for (const std::string file :
       {"adapter_model.safetensors", "optimizer.safetensors", "trainer_state.json"}) {
    const fs::path copy = folder_.path() / "copy" / "checkpoint-2";
    fs::remove_all(copy);
    copy_folder(folder_.path() / "checkpoint-2", copy);
    fs::remove(copy / file);
    const Session run(recipe_, folder_.path());
    EXPECT_TRUE(error_of([&] { run.trainer->resume(copy); }, copy).starts_with("io: " + file));
  }
}

TEST_F(Damage, ADamagedNewerCheckpointIsWrittenAgain) {
  recipe_.options.max_steps = 6;
  recipe_.options.save_steps = 2;
  const fs::path whole = folder_.path() / "whole";
  Session(recipe_, whole).trainer->run();
  const auto expected = folder_bytes(whole);
  std::ofstream(whole / "checkpoint-4" / "optimizer.safetensors") << "damaged";
  const Session run(recipe_, whole);
  run.trainer->resume(whole / "checkpoint-2");
  run.trainer->run();
  EXPECT_EQ(folder_bytes(whole), expected);
}

TEST(LatestCheckpoint, IsTheNewestWholeOne) {
  const TempFolder folder;
  const fs::path& path = folder.path();
  EXPECT_FALSE(Trainer::latest_checkpoint(path / "absent").has_value());
  EXPECT_FALSE(Trainer::latest_checkpoint(path).has_value());
  const auto make = [&](const std::string& name, bool whole) {
    fs::create_directories(path / name);
    if (whole) folder.write(name + "/trainer_state.json", "{}");
  };
  make("checkpoint-9", true);
  make("checkpoint-10", true);
  make("checkpoint-11.tmp-1234-0", true);
  make("checkpoint-12", false);
  make("checkpoint-013", true);
  make("checkpoint--14", true);
  make("checkpoint-99999999999999999999", true);
  folder.write("checkpoint-15", "a file");
  EXPECT_EQ(Trainer::latest_checkpoint(path), path / "checkpoint-10");
  EXPECT_EQ(error_of([&] { Trainer::latest_checkpoint(path / "checkpoint-15"); }, path),
            "io: checkpoint-15: cannot be read: Not a directory");
}

TEST(Checkpoints, TwoRunsDoNotMix) {
  const TempFolder folder;
  Recipe recipe;
  recipe.options.max_steps = 2;
  Session(recipe, folder.path() / "a").trainer->run();
  EXPECT_EQ(error_of([&] { Session(recipe, folder.path() / "a").trainer->run(); }, folder.path()),
            "argument: train: a holds the checkpoints of another run (checkpoint-2); resume from "
            "them or choose another output_dir");
  Recipe other = recipe;
  other.options.seed = 1;
  Session(other, folder.path() / "b").trainer->run();
  const Session run(other, folder.path() / "a");
  run.trainer->resume(folder.path() / "b" / "checkpoint-2");
  const auto before = folder_bytes(folder.path());
  EXPECT_EQ(error_of([&] { run.trainer->run(); }, folder.path()),
            "argument: train: a holds the checkpoints of another run (checkpoint-2); resume from "
            "them or choose another output_dir");
  EXPECT_EQ(folder_bytes(folder.path()), before);
}

TEST(Checkpoints, WhatAKilledRunLeftBehindIsRemoved) {
  const TempFolder folder;
  // No process has this number: they end below it.
  const fs::path stale = folder.path() / "checkpoint-4.tmp-999999999-0";
  fs::create_directory(stale);
  std::ofstream(stale / "optimizer.safetensors") << "half";
  Recipe recipe;
  recipe.options.max_steps = 2;
  Session(recipe, folder.path()).trainer->run();
  EXPECT_FALSE(fs::exists(stale));
}

TEST(Digest, KnowsEveryByteItsPlaceAndTheSize) {
  const auto of = [](const std::string& text) {
    return detail::digest(std::as_bytes(std::span(text)));
  };
  const std::string text = "The quick brown fox jumps.";
  std::vector<std::uint64_t> seen{of(text)};
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ (1 << bit));
      seen.push_back(of(other));
    }
    seen.push_back(of(text.substr(0, i)));
    seen.push_back(of(text + std::string(i + 1, '\0')));
  }
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
  // Checkpoints outlive the program that wrote them.
  EXPECT_EQ(of(text), 3328029232257551146U);
}

}  // namespace

}  // namespace wick::test
