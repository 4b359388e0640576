#include "train/trainer_state.hpp"

#include <string_view>

namespace wick::detail {

namespace {

std::int64_t count(const JsonFields& fields, std::string_view key) {
  const std::int64_t value = fields.integer(key);
  if (value < 0) fields.fail(key, "must not be negative");
  return value;
}

}  // namespace

Json to_json(const TrainerState& state) {
  Json json{{"global_step", state.global_step},
            {"epoch", state.epoch},
            {"micro_batch", state.micro_batch},
            {"num_input_tokens_seen", state.tokens_seen},
            {"num_targets_seen", state.targets_seen},
            {"loss", state.last_loss},
            {"best_metric", nullptr},
            {"best_global_step", state.best_step},
            {"evaluations_without_better", state.evaluations_without_better},
            {"evaluation_due", state.is_evaluation_due}};
  if (state.best_loss) json["best_metric"] = *state.best_loss;
  return json;
}

TrainerState parse_trainer_state(const JsonFields& fields) {
  TrainerState state{.global_step = fields.positive("global_step"),
                     .epoch = count(fields, "epoch"),
                     .micro_batch = count(fields, "micro_batch"),
                     .tokens_seen = count(fields, "num_input_tokens_seen"),
                     .targets_seen = count(fields, "num_targets_seen"),
                     .last_loss = fields.number("loss"),
                     .best_step = count(fields, "best_global_step"),
                     .evaluations_without_better = count(fields, "evaluations_without_better"),
                     .is_evaluation_due = fields.boolean("evaluation_due", false)};
  if (fields.find("best_metric") != nullptr) state.best_loss = fields.number("best_metric");
  return state;
}

}  // namespace wick::detail
