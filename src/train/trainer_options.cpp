#include "train/trainer_options.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

std::int64_t steps_of(const EpochPlan& plan, std::int64_t accumulation) {
  return (plan.size() + accumulation - 1) / accumulation;
}

}  // namespace

void check_options(const TrainerOptions& options, bool has_eval) {
  const auto need = [](bool holds, const std::string& rule) {
    if (!holds) throw Error(ErrorKind::kArgument, "train", rule);
  };
  need(options.max_steps > 0 ||
           (options.num_train_epochs > 0 && std::isfinite(options.num_train_epochs)),
       "num_train_epochs or max_steps must be positive");
  need(options.gradient_accumulation_steps >= 1, "gradient_accumulation_steps must be at least 1");
  need(options.learning_rate >= 0 && std::isfinite(options.learning_rate),
       "learning_rate must be finite and not negative");
  need(options.warmup_steps >= 0 && options.warmup_ratio >= 0 && options.warmup_ratio <= 1,
       "warmup_steps must not be negative, and warmup_ratio in [0, 1]");
  need(options.min_lr_ratio >= 0 && options.min_lr_ratio <= 1, "min_lr_ratio must be in [0, 1]");
  need(std::min({options.eval_steps, options.save_steps, options.save_total_limit,
                 options.early_stopping_patience, options.memory_budget}) >= 0,
       "eval_steps, save_steps, save_total_limit, early_stopping_patience and memory_budget must "
       "not be negative");
  need(has_eval || (options.eval_steps == 0 && options.early_stopping_patience == 0 &&
                    !options.load_best_model_at_end),
       "eval_steps, early_stopping_patience and load_best_model_at_end need evaluation data");
  need(!options.load_best_model_at_end || !options.output_dir.empty(),
       "load_best_model_at_end needs an output_dir, where the best checkpoint is kept");
}

// Epochs may differ in length: packing fits another order of samples into another number of rows.
std::int64_t count_steps(const Dataset& train, const TrainerOptions& options) {
  // Refuses what is wrong with data and batches before the run begins.
  const EpochPlan first(train, options.batches, 0);
  if (options.max_steps > 0) return options.max_steps;
  std::int64_t total = 0;
  double left = options.num_train_epochs;
  for (std::int64_t epoch = 0; left > 0; ++epoch, left -= 1) {
    const EpochPlan plan(train, options.batches, epoch);
    const auto steps = static_cast<double>(steps_of(plan, options.gradient_accumulation_steps));
    // 2.1 epochs of 10 steps are 21: what is left of 2.1 after two is a little more than 0.1.
    constexpr double kRounding = 1e-9;
    total += static_cast<std::int64_t>(std::ceil(std::min(left, 1.0) * steps - kRounding));
  }
  return std::max<std::int64_t>(total, 1);
}

Schedule make_schedule(const TrainerOptions& options, std::int64_t total) {
  std::int64_t warmup = options.warmup_steps;
  if (warmup == 0) {
    warmup =
        static_cast<std::int64_t>(std::ceil(options.warmup_ratio * static_cast<double>(total)));
  }
  return {.type = options.lr_scheduler_type,
          .learning_rate = options.learning_rate,
          .warmup_steps = warmup,
          .total_steps = total,
          .min_lr_ratio = options.min_lr_ratio};
}

}  // namespace wick::detail
