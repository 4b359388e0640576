#include "wick/base/error.hpp"
#include "wick/train/trainer.hpp"

namespace wick {

EvalReport evaluate_loss(const CausalLm& model, const Dataset& data, const BatchOptions& batches,
                         std::int64_t loss_chunk_rows) {
  BatchOptions in_order = batches;
  in_order.shuffle = false;
  const EpochPlan plan(data, in_order, 0);
  EvalReport report;
  double sum = 0;
  for (std::int64_t i = 0; i < plan.size(); ++i) {
    const MicroBatch batch = plan.batch(i);
    if (batch.num_targets == 0) continue;
    sum += loss_sum(model, batch, loss_chunk_rows);
    report.num_targets += batch.num_targets;
  }
  if (report.num_targets == 0) {
    throw Error(ErrorKind::kArgument, "evaluate", "no token of the evaluation data is a target");
  }
  report.loss = sum / static_cast<double>(report.num_targets);
  return report;
}

}  // namespace wick
