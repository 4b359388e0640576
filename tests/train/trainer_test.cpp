#include "wick/train/trainer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "train/run_support.hpp"
#include "wick/ops/move.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;

TrainerOptions tiny_options(const fs::path& output_dir) {
  TrainerOptions options;
  options.output_dir = output_dir;
  options.max_steps = 6;
  options.learning_rate = 1e-2;
  options.batches = {.batch_size = 4, .max_seq_length = 32};
  return options;
}

struct Followed {
  TrainResult result;
  std::vector<StepReport> steps;
  std::vector<EvalReport> evaluations;
  std::vector<std::string> saved;
  std::int64_t announced = 0;
};

Followed follow(Trainer& trainer, const std::function<bool()>& should_stop = nullptr) {
  Followed followed;
  followed.result = trainer.run(
      {.on_start = [&](std::int64_t total) { followed.announced = total; },
       .on_step = [&](const StepReport& report) { followed.steps.push_back(report); },
       .on_evaluate = [&](const EvalReport& report) { followed.evaluations.push_back(report); },
       .on_save = [&](const fs::path& path) { followed.saved.push_back(path.filename().string()); },
       .should_stop = should_stop});
  return followed;
}

Trainer lora_trainer(const TrainerOptions& options, std::int64_t samples = 20,
                     std::int64_t held_out = 0) {
  const TinyRun run = tiny_lora();
  return Trainer(run.model, run.adapter, tiny_dataset(samples), tiny_dataset(held_out, 9), options);
}

std::vector<std::string> checkpoints_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("checkpoint")) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

TEST(Trainer, WritesAnAdapterThatLoadsAndGivesTheSameLosses) {
  const TempFolder folder;
  const TinyRun run = tiny_lora();
  TrainerOptions options = tiny_options(folder.path() / "out");
  options.save_steps = 4;
  Trainer trainer(run.model, run.adapter, tiny_dataset(20), {}, options);
  const Followed followed = follow(trainer);
  EXPECT_EQ(followed.announced, 6);
  EXPECT_EQ(followed.result.steps, 6);
  EXPECT_EQ(followed.result.end, TrainResult::End::kFinished);
  EXPECT_EQ(followed.result.last_loss, followed.steps.back().loss);
  EXPECT_LT(followed.steps.back().loss, followed.steps.front().loss);
  EXPECT_EQ(followed.saved, (std::vector<std::string>{"checkpoint-4", "checkpoint-6"}));
  EXPECT_EQ(names_in(folder_bytes(folder.path() / "out")),
            (std::vector<std::string>{
                "adapter_config.json", "adapter_model.safetensors",
                "checkpoint-4/adapter_config.json", "checkpoint-4/adapter_model.safetensors",
                "checkpoint-4/optimizer.safetensors", "checkpoint-4/trainer_state.json",
                "checkpoint-6/adapter_config.json", "checkpoint-6/adapter_model.safetensors",
                "checkpoint-6/optimizer.safetensors", "checkpoint-6/trainer_state.json"}));

  const auto model = CausalLm::create(tiny_config(), 7);
  model->load_adapter("read", folder.path() / "out");
  model->set_active_adapters({{"read"}});
  const Dataset held_out = tiny_dataset(9, 3);
  EXPECT_EQ(evaluate_loss(*model, held_out, options.batches).loss,
            evaluate_loss(*run.model, held_out, options.batches).loss);
}

TEST(Trainer, FromScratchAndFullFineTuning) {
  const TempFolder folder;
  TrainerOptions options = tiny_options(folder.path() / "scratch");
  options.fine_tune_type = FineTuneType::kFull;
  options.save_dtype = DType::kBF16;
  const auto model = CausalLm::create(tiny_config(), 3);
  Trainer trainer(model, nullptr, tiny_dataset(20), {}, options);
  const Followed followed = follow(trainer);
  EXPECT_LT(followed.steps.back().loss, followed.steps.front().loss);

  const auto read = CausalLm::load(folder.path() / "scratch");
  EXPECT_EQ(read->parameters()[0].second.dtype(), DType::kBF16);
  const auto file =
      SafetensorsFile::open(folder.path() / "scratch" / "checkpoint-6" / "model.safetensors");
  for (const auto& [name, tensor] : model->parameters()) {
    EXPECT_EQ(floats(file.tensor(name)), floats(tensor)) << name;
    EXPECT_EQ(file.tensor(name).dtype(), DType::kF32);
  }

  // Goes on from the written model with all of its weights.
  options.output_dir = folder.path() / "tuned";
  const auto tuned = CausalLm::load(folder.path() / "scratch", {.dtype = DType::kF32});
  std::vector<std::vector<float>> before;
  for (const auto& [name, tensor] : tuned->parameters()) before.push_back(floats(tensor));
  Trainer second(tuned, nullptr, tiny_dataset(20), {}, options);
  follow(second);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_NE(floats(tuned->parameters()[i].second), before[i]) << tuned->parameters()[i].first;
  }
}

TEST(Trainer, CountsStepsOfEpochs) {
  const auto steps = [](double epochs, std::int64_t samples, std::int64_t accumulation) {
    TrainerOptions options = tiny_options({});
    options.max_steps = 0;
    options.num_train_epochs = epochs;
    options.batches.batch_size = 2;
    options.gradient_accumulation_steps = accumulation;
    return lora_trainer(options, samples).total_steps();
  };
  EXPECT_EQ(steps(1, 20, 1), 10);
  EXPECT_EQ(steps(3, 20, 1), 30);
  EXPECT_EQ(steps(2.1, 20, 1), 21);
  EXPECT_EQ(steps(0.05, 20, 1), 1);
  EXPECT_EQ(steps(0.11, 20, 1), 2);
  EXPECT_EQ(steps(1, 21, 1), 11) << "no sample is dropped";
  EXPECT_EQ(steps(2, 21, 4), 6) << "accumulation ends with the epoch";
}

TEST(Trainer, EveryTokenOfEveryEpochIsSeen) {
  for (const bool packing : {false, true}) {
    TrainerOptions options = tiny_options({});
    options.max_steps = 0;
    options.num_train_epochs = 2;
    options.gradient_accumulation_steps = 3;
    options.batches.packing = packing;
    Trainer trainer = lora_trainer(options, 37);
    const Followed followed = follow(trainer);
    std::int64_t tokens = 0;
    std::int64_t targets = 0;
    for (const StepReport& report : followed.steps) {
      tokens += report.num_tokens;
      targets += report.num_targets;
    }
    EXPECT_EQ(tokens, 2 * tiny_dataset(37).num_tokens());
    EXPECT_EQ(targets, 2 * tiny_dataset(37).num_targets());
    EXPECT_EQ(static_cast<std::int64_t>(followed.steps.size()), trainer.total_steps());
  }
}

TEST(Trainer, FollowsItsSchedule) {
  TrainerOptions options = tiny_options({});
  options.lr_scheduler_type = ScheduleType::kCosine;
  options.warmup_ratio = 0.3;  // of six steps: two
  Trainer trainer = lora_trainer(options);
  const Schedule schedule{
      .type = ScheduleType::kCosine, .learning_rate = 1e-2, .warmup_steps = 2, .total_steps = 6};
  for (const StepReport& report : follow(trainer).steps) {
    EXPECT_EQ(report.learning_rate, schedule.at(report.step));
  }
}

TEST(Trainer, EvaluatesWithoutDropoutWhenDue) {
  LoraConfig config;
  config.lora_dropout = 0.5;
  config.init_lora_weights = LoraInit::kNone;
  const TinyRun run = tiny_lora(config);
  TrainerOptions options = tiny_options({});
  options.eval_steps = 4;
  Trainer trainer(run.model, run.adapter, tiny_dataset(20), tiny_dataset(7, 9), options);
  const Followed followed = follow(trainer);
  ASSERT_EQ(followed.evaluations.size(), 2U);
  EXPECT_EQ(followed.evaluations[0].step, 4);
  EXPECT_EQ(followed.evaluations[1].step, 6) << "at the end too";
  EXPECT_EQ(followed.evaluations[1].num_targets, tiny_dataset(7, 9).num_targets());
  EXPECT_EQ(trainer.evaluate().loss, followed.evaluations[1].loss);
  // The mean over all targets, however they are batched.
  const auto mean = [&](const BatchOptions& batches) {
    return evaluate_loss(*run.model, tiny_dataset(7, 9), batches).loss;
  };
  EXPECT_NEAR(mean({.batch_size = 1}) / followed.evaluations[1].loss, 1, 1e-6);
  EXPECT_NEAR(
      mean({.batch_size = 2, .max_seq_length = 40, .packing = true}) / followed.evaluations[1].loss,
      1, 1e-6);
}

// A rate so high that the loss soon rises again.
TrainerOptions overshooting(const fs::path& output_dir) {
  TrainerOptions options = tiny_options(output_dir);
  options.learning_rate = 0.3;
  options.lr_scheduler_type = ScheduleType::kConstant;
  options.max_steps = 12;
  options.eval_steps = 1;
  return options;
}

TEST(Trainer, KeepsTheBestAndStopsEarly) {
  const TempFolder folder;
  TrainerOptions options = overshooting(folder.path());
  options.load_best_model_at_end = true;
  options.early_stopping_patience = 3;
  options.save_steps = 1;
  options.save_total_limit = 2;
  const TinyRun run = tiny_lora();
  const Dataset held_out = tiny_dataset(7, 9);
  Trainer trainer(run.model, run.adapter, tiny_dataset(20), held_out, options);
  const Followed followed = follow(trainer);
  ASSERT_EQ(followed.result.end, TrainResult::End::kEarlyStopping);
  ASSERT_TRUE(followed.result.best_eval.has_value());
  const EvalReport best = *followed.result.best_eval;
  const auto lowest = std::ranges::min_element(followed.evaluations, {}, &EvalReport::loss);
  EXPECT_EQ(best.step, lowest->step);
  EXPECT_EQ(best.loss, lowest->loss);
  EXPECT_EQ(followed.result.steps, best.step + 3);
  // What remains: the two newest and the best.
  const auto name = [](std::int64_t step) { return "checkpoint-" + std::to_string(step); };
  std::vector<std::string> expected{name(best.step), name(best.step + 2), name(best.step + 3)};
  std::ranges::sort(expected);
  EXPECT_EQ(checkpoints_in(folder.path()), expected);
  // The result is the best one, in memory and on disk.
  EXPECT_EQ(evaluate_loss(*run.model, held_out, options.batches).loss, best.loss);
  EXPECT_EQ(file_bytes(folder.path() / "adapter_model.safetensors"),
            file_bytes(folder.path() / name(best.step) / "adapter_model.safetensors"));
}

TEST(Trainer, WithoutLoadBestTheLastIsTheResult) {
  const TempFolder folder;
  Trainer trainer = lora_trainer(overshooting(folder.path()), 20, 7);
  const Followed followed = follow(trainer);
  EXPECT_NE(followed.result.best_eval->step, 12);
  EXPECT_EQ(checkpoints_in(folder.path()), std::vector<std::string>{"checkpoint-12"});
  EXPECT_EQ(trainer.evaluate().loss, followed.evaluations.back().loss);
}

TEST(Trainer, StoppingSavesACheckpointAndNoResult) {
  const TempFolder folder;
  TrainerOptions options = tiny_options(folder.path());
  options.gradient_accumulation_steps = 2;
  Trainer trainer = lora_trainer(options, 24);
  int asked = 0;
  // In the middle of the third step.
  const Followed followed = follow(trainer, [&] { return ++asked == 6; });
  EXPECT_EQ(followed.result.end, TrainResult::End::kStopped);
  EXPECT_EQ(followed.result.steps, 2);
  EXPECT_EQ(followed.saved, std::vector<std::string>{"checkpoint-2"});
  EXPECT_FALSE(fs::exists(folder.path() / "adapter_model.safetensors"));
}

TEST(Trainer, AnEvaluationThatIsStoppedCountsForNothing) {
  const TempFolder folder;
  TrainerOptions options = tiny_options(folder.path());
  options.eval_steps = 2;
  Trainer trainer = lora_trainer(options, 24, 30);
  int asked = 0;
  // Two steps of one micro-batch, then in the middle of the evaluation.
  const Followed followed = follow(trainer, [&] { return ++asked == 5; });
  EXPECT_EQ(followed.result.end, TrainResult::End::kStopped);
  EXPECT_EQ(followed.result.steps, 2);
  EXPECT_TRUE(followed.evaluations.empty());
  EXPECT_FALSE(followed.result.last_eval.has_value());
  EXPECT_FALSE(followed.result.best_eval.has_value());
  EXPECT_EQ(followed.saved, std::vector<std::string>{"checkpoint-2"});
  // It is the first thing that is done when the run goes on.
  trainer.resume(folder / "checkpoint-2");
  const Followed rest = follow(trainer);
  EXPECT_EQ(rest.result.end, TrainResult::End::kFinished);
  ASSERT_EQ(rest.evaluations.size(), 3U);
  EXPECT_EQ(rest.evaluations[0].step, 2);
  EXPECT_EQ(rest.steps.front().step, 3);
}

TEST(Trainer, StoppingBeforeTheFirstStepWritesNothing) {
  const TempFolder folder;
  Trainer trainer = lora_trainer(tiny_options(folder.path()));
  const Followed followed = follow(trainer, [] { return true; });
  EXPECT_EQ(followed.result.steps, 0);
  EXPECT_TRUE(folder_bytes(folder.path()).empty());
}

TEST(Trainer, WithoutAFolderNothingIsWritten) {
  TrainerOptions options = tiny_options({});
  options.save_steps = 1;
  Trainer trainer = lora_trainer(options);
  EXPECT_TRUE(follow(trainer).saved.empty());
}

TEST(Trainer, NamesTheLastGoodCheckpointWhenNumbersBreak) {
  const TempFolder folder;
  TrainerOptions options = tiny_options(folder.path());
  options.save_steps = 2;
  const TinyRun run = tiny_lora();
  Trainer trainer(run.model, run.adapter, tiny_dataset(20), {}, options);
  const auto [name, tensor] = run.adapter->tensors()[2];
  const auto break_after = [&](std::int64_t step) {
    return TrainerEvents{.on_step = [&, step](const StepReport& report) {
      if (report.step != step) return;
      tensor.set_requires_grad(false);
      copy_(tensor, Tensor::full(tensor.shape(), NAN, DType::kF32));
      tensor.set_requires_grad(true);
    }};
  };
  const std::string error =
      error_of([&] { trainer.run(break_after(3)); }, folder.path().parent_path());
  EXPECT_EQ(error, "argument: train_step: step 4: tensor " + name +
                       " holds NaN or infinity; nothing was updated; lower the learning rate or "
                       "look at the data of this step; the last good checkpoint is " +
                       folder.path().filename().string() + "/checkpoint-2");
  EXPECT_EQ(checkpoints_in(folder.path()), std::vector<std::string>{"checkpoint-2"});
}

TEST(Trainer, NeedsAModel) {
  const TinyRun run = tiny_lora();
  EXPECT_EQ(error_of([&] {
              Trainer(nullptr, run.adapter, tiny_dataset(20), {}, tiny_options("/nowhere"));
            }),
            "argument: train: a run needs a model, got a null pointer");
}

TEST(Trainer, BadOptionsAreRefused) {
  const auto refused = [](const std::function<void(TrainerOptions&)>& change,
                          std::int64_t held_out = 0) {
    TrainerOptions options = tiny_options("/nowhere");
    change(options);
    return error_of([&] { lora_trainer(options, 20, held_out); });
  };
  using Options = TrainerOptions;
  EXPECT_EQ(refused([](Options& o) { o.max_steps = 0, o.num_train_epochs = 0; }),
            "argument: train: num_train_epochs or max_steps must be positive");
  EXPECT_EQ(refused([](Options& o) { o.max_steps = 0, o.num_train_epochs = NAN; }),
            "argument: train: num_train_epochs or max_steps must be positive");
  EXPECT_EQ(refused([](Options& o) { o.gradient_accumulation_steps = 0; }),
            "argument: train: gradient_accumulation_steps must be at least 1");
  EXPECT_EQ(refused([](Options& o) { o.learning_rate = -1; }),
            "argument: train: learning_rate must be finite and not negative");
  EXPECT_EQ(refused([](Options& o) { o.warmup_ratio = 1.5; }),
            "argument: train: warmup_steps must not be negative, and warmup_ratio in [0, 1]");
  EXPECT_EQ(refused([](Options& o) { o.batches.batch_size = 0; }),
            "argument: batches: batch_size must be at least 1, got 0");
  EXPECT_EQ(refused([](Options& o) { o.fine_tune_type = FineTuneType::kFull; }),
            "argument: train: full fine-tuning trains the weights, not an adapter");
  const std::string no_data =
      "argument: train: eval_steps, early_stopping_patience and load_best_model_at_end need "
      "evaluation data";
  EXPECT_EQ(refused([](Options& o) { o.eval_steps = 1; }), no_data);
  EXPECT_EQ(refused([](Options& o) { o.early_stopping_patience = 1; }), no_data);
  EXPECT_EQ(refused([](Options& o) { o.load_best_model_at_end = true; }), no_data);
  EXPECT_EQ(
      refused([](Options& o) { o.load_best_model_at_end = true, o.output_dir.clear(); }, 3),
      "argument: train: load_best_model_at_end needs an output_dir, where the best checkpoint "
      "is kept");
  EXPECT_EQ(error_of([] { lora_trainer(tiny_options("/nowhere"), 0); }),
            "argument: batches: the data set is empty");
  Dataset silent;
  silent.add(std::vector<std::int32_t>{3, 4}, std::vector<std::uint8_t>{1, 0});
  const TinyRun run = tiny_lora();
  EXPECT_EQ(error_of([&] { Trainer(run.model, run.adapter, silent, {}, tiny_options({})); }),
            "argument: train: no token of the training data is a target");
}

TEST(Trainer, AFolderThatCannotBeWrittenIsSaidBeforeTheFirstStep) {
  const TempFolder folder;
  folder.write("file", "");
  int steps = 0;
  const auto run = [&](const fs::path& output_dir) {
    TrainerOptions options = tiny_options(output_dir);
    Trainer trainer = lora_trainer(options);
    return error_of([&] { trainer.run({.on_step = [&](const StepReport&) { ++steps; }}); },
                    folder.path());
  };
  EXPECT_EQ(run(folder.path() / "file" / "out"),
            "io: file/out: cannot be created: Not a directory");
  const fs::path closed = folder.path() / "closed";
  fs::create_directory(closed);
  fs::permissions(closed, fs::perms::owner_read | fs::perms::owner_exec);
  if (::geteuid() == 0) {
    // Nothing is closed to the superuser but what the system keeps for itself.
    EXPECT_TRUE(run("/proc/self").starts_with("io: /proc/self/checkpoint-6.tmp-"));
  } else {
    EXPECT_TRUE(run(closed).starts_with("io: closed/checkpoint-6.tmp-"));
  }
  EXPECT_EQ(steps, 0);
}

TEST(Trainer, ADiskThatFillsUpLeavesThePreviousCheckpointWhole) {
  const TempFolder folder;
  TrainerOptions options = tiny_options(folder.path());
  options.save_steps = 2;
  Trainer trainer = lora_trainer(options);
  std::map<std::string, std::string> whole;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const auto fill_up = [&](const StepReport& report) {
    if (report.step != 3) return;
    whole = folder_bytes(folder.path());
    const rlimit small{.rlim_cur = 1000, .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  };
  const std::string error = error_of([&] { trainer.run({.on_step = fill_up}); }, folder.path());
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(error.starts_with("io: checkpoint-4.tmp-")) << error;
  EXPECT_NE(error.find("adapter_model.safetensors"), std::string::npos) << error;
  EXPECT_NE(error.find("cannot be written: File too large"), std::string::npos) << error;
  // Neither has the checkpoint changed, nor is anything left of the new one.
  EXPECT_EQ(folder_bytes(folder.path()), whole);
  EXPECT_EQ(checkpoints_in(folder.path()), std::vector<std::string>{"checkpoint-2"});
}

}  // namespace

}  // namespace wick::test
