#include "train/evaluate_loss.hpp"

#include "train/ranks.hpp"
#include "wick/base/error.hpp"

namespace wick {

std::optional<EvalReport> detail::evaluate_until(const CausalLm& model, const Dataset& data,
                                                 const BatchOptions& batches,
                                                 std::int64_t loss_chunk_rows,
                                                 const std::function<bool()>& should_stop,
                                                 Communicator* ranks) {
  BatchOptions in_order = batches;
  in_order.shuffle = false;
  const EpochPlan plan(data, in_order, 0);
  detail::RankSums sums;
  for (std::int64_t i = 0; i < plan.size(); ++i) {
    if (!detail::is_own(ranks, i)) continue;
    const MicroBatch batch = plan.batch(i);
    if (batch.num_targets == 0) continue;
    sums.is_stopped = should_stop && should_stop();
    if (sums.is_stopped) break;
    sums.loss += loss_sum(model, batch, loss_chunk_rows);
    sums.targets += static_cast<double>(batch.num_targets);
  }
  if (ranks != nullptr) detail::all_reduce(*ranks, sums);
  if (sums.is_stopped) return std::nullopt;
  EvalReport report{.num_targets = static_cast<std::int64_t>(sums.targets)};
  if (report.num_targets == 0) {
    throw Error(ErrorKind::kArgument, "evaluate", "no token of the evaluation data is a target");
  }
  report.loss = sums.loss / static_cast<double>(report.num_targets);
  return report;
}

EvalReport evaluate_loss(const CausalLm& model, const Dataset& data, const BatchOptions& batches,
                         std::int64_t loss_chunk_rows) {
  return *detail::evaluate_until(model, data, batches, loss_chunk_rows, {});
}

}  // namespace wick
