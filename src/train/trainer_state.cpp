#include "train/trainer_state.hpp"

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

constexpr std::int64_t kFormatVersion = 1;

// Names of settings whose values differ, with both values.
std::string differences(const Json& stored, const Json& wanted) {
  std::string text;
  for (const auto& [key, value] : wanted.items()) {
    const Json before = stored.contains(key) ? stored[key] : Json();
    if (before == value) continue;
    text += (text.empty() ? "" : ", ") + key + " was " + before.dump() + " and is " + value.dump();
  }
  return text;
}

}  // namespace

Json settings_json(const TrainerOptions& options, std::int64_t total_steps, const Dataset& train,
                   const Dataset& eval) {
  return Json{
      {"fine_tune_type", options.fine_tune_type == FineTuneType::kFull ? "full" : "lora"},
      {"max_steps", total_steps},
      {"gradient_accumulation_steps", options.gradient_accumulation_steps},
      {"batch_size", options.batches.batch_size},
      {"max_seq_length", options.batches.max_seq_length},
      {"packing", options.batches.packing},
      {"shuffle", options.batches.shuffle},
      {"adam_beta1", options.optimizer.adam_beta1},
      {"adam_beta2", options.optimizer.adam_beta2},
      {"adam_epsilon", options.optimizer.adam_epsilon},
      {"weight_decay", options.optimizer.weight_decay},
      {"max_grad_norm", options.optimizer.max_grad_norm},
      {"lr_scheduler_type", to_string(options.lr_scheduler_type)},
      {"learning_rate", options.learning_rate},
      {"warmup_steps", options.warmup_steps},
      {"warmup_ratio", options.warmup_ratio},
      {"min_lr_ratio", options.min_lr_ratio},
      {"eval_steps", options.eval_steps},
      {"load_best_model_at_end", options.load_best_model_at_end},
      {"early_stopping_patience", options.early_stopping_patience},
      {"seed", options.seed},
      {"training_data", train.fingerprint()},
      {"evaluation_data", eval.fingerprint()},
  };
}

Json to_json(const TrainerState& state, const Json& settings) {
  Json json{{"format_version", kFormatVersion},
            {"global_step", state.global_step},
            {"epoch", state.epoch},
            {"micro_batch", state.micro_batch},
            {"num_input_tokens_seen", state.tokens_seen},
            {"num_targets_seen", state.targets_seen},
            {"best_metric", nullptr},
            {"best_global_step", state.best_step},
            {"evaluations_without_better", state.evaluations_without_better},
            {"settings", settings}};
  if (state.best_loss) json["best_metric"] = *state.best_loss;
  return json;
}

TrainerState read_trainer_state(const std::filesystem::path& path, const Json& settings) {
  const Json json = read_json_file(path);
  const JsonFields fields(json, path.string());
  if (fields.integer("format_version") != kFormatVersion) {
    fields.fail("format_version", "must be " + std::to_string(kFormatVersion));
  }
  const Json& stored = fields.require("settings");
  const std::string changed = differences(stored, settings);
  if (!changed.empty()) {
    throw Error(ErrorKind::kArgument, "resume",
                path.string() + ": the run had other settings: " + changed, {},
                "resume with the settings of the checkpoint, or start a new run");
  }
  TrainerState state{.global_step = fields.integer("global_step"),
                     .epoch = fields.integer("epoch"),
                     .micro_batch = fields.integer("micro_batch"),
                     .tokens_seen = fields.integer("num_input_tokens_seen"),
                     .targets_seen = fields.integer("num_targets_seen"),
                     .best_step = fields.integer("best_global_step"),
                     .evaluations_without_better = fields.integer("evaluations_without_better")};
  if (fields.find("best_metric") != nullptr) state.best_loss = fields.number("best_metric");
  if (state.global_step < 0 || state.epoch < 0 || state.micro_batch < 0) {
    fields.fail("global_step", "counts must not be negative");
  }
  return state;
}

}  // namespace wick::detail
