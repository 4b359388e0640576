#include "train/evaluate_loss.hpp"

#include "wick/base/error.hpp"

namespace wick {

std::optional<EvalReport> detail::evaluate_until(const CausalLm& model, const Dataset& data,
                                                 const BatchOptions& batches,
                                                 std::int64_t loss_chunk_rows,
                                                 const std::function<bool()>& should_stop) {
  BatchOptions in_order = batches;
  in_order.shuffle = false;
  const EpochPlan plan(data, in_order, 0);
  EvalReport report;
  double sum = 0;
  for (std::int64_t i = 0; i < plan.size(); ++i) {
    const MicroBatch batch = plan.batch(i);
    if (batch.num_targets == 0) continue;
    if (should_stop && should_stop()) return std::nullopt;
    sum += loss_sum(model, batch, loss_chunk_rows);
    report.num_targets += batch.num_targets;
  }
  if (report.num_targets == 0) {
    throw Error(ErrorKind::kArgument, "evaluate", "no token of the evaluation data is a target");
  }
  report.loss = sum / static_cast<double>(report.num_targets);
  return report;
}

EvalReport evaluate_loss(const CausalLm& model, const Dataset& data, const BatchOptions& batches,
                         std::int64_t loss_chunk_rows) {
  return *detail::evaluate_until(model, data, batches, loss_chunk_rows, {});
}

}  // namespace wick
