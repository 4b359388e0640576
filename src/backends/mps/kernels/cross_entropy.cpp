#include "backends/mps/kernels/cross_entropy_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/row_plan.hpp"
#include "runtime/args/cross_entropy_args.hpp"

namespace wick::mps {

static_assert(sizeof(CrossEntropyKargs) == 64);
static_assert(sizeof(LossSumsKargs) == 16);

namespace {

// The rows of a vocabulary are too long to be kept.
constexpr std::uint32_t kReadAgain = 0;

struct RowLoss {
  float loss, weight;
};

void rows_of(Stream& stream, const CrossEntropyArgs& args, const Scratch& rows) {
  const RowPlan plan = plan_rows(args.logits.dim(0), args.logits.dim(1));
  const std::uint32_t dtype = dtype_of(args.logits);
  Dispatch dispatch(
      stream,
      {"cross_entropy", "cross_entropy_rows", {kReadAgain, dtype, dtype_of(args.targets), dtype}});
  dispatch.buffer(args.logits)
      .buffer(args.targets)
      .buffer(args.weights)
      .buffer(args.lse)
      .memory(rows.data())
      .fault()
      .value(CrossEntropyKargs{.plan = plan,
                               .stride = args.logits.stride(0),
                               .ignore_index = args.ignore_index,
                               .first_row = args.first_row,
                               .label_smoothing = args.label_smoothing,
                               .has_weights = args.weights ? 1 : 0,
                               .has_dloss = 0,
                               .has_factor = 0});
  run_rows(dispatch, plan);
}

}  // namespace

KernelStatus cross_entropy(Stream& stream, const CrossEntropyArgs& args) {
  constexpr std::uint64_t kThreads = 256;
  const std::int64_t N = args.logits.dim(0);
  const Scratch rows(stream, static_cast<std::size_t>(N) * sizeof(RowLoss));
  if (N > 0) rows_of(stream, args, rows);
  const std::uint32_t dtype = dtype_of(args.logits);
  Dispatch(
      stream,
      {"cross_entropy", "cross_entropy_sums", {kReadAgain, dtype, dtype_of(args.targets), dtype}})
      .memory(N > 0 ? rows.data() : nullptr)
      .buffer(args.loss_sum)
      .buffer(args.weight_sum)
      .buffer(args.inv_weight)
      .value(LossSumsKargs{N, args.accumulate ? 1 : 0, args.inv_weight ? 1 : 0})
      .groups({1}, {kThreads});
  return args.dlogits ? cross_entropy_backward(stream, gradient_of(args)) : KernelStatus::ok();
}

KernelStatus cross_entropy_backward(Stream& stream, const CrossEntropyBackwardArgs& args) {
  if (args.logits.numel() == 0) return KernelStatus::ok();
  const RowPlan plan = plan_rows(args.logits.dim(0), args.logits.dim(1));
  Dispatch(stream,
           {"cross_entropy",
            "cross_entropy_backward",
            {kReadAgain, dtype_of(args.logits), dtype_of(args.targets), dtype_of(args.dlogits)}})
      .buffer(args.dloss)
      .buffer(args.factor)
      .buffer(args.logits)
      .buffer(args.targets)
      .buffer(args.weights)
      .buffer(args.lse)
      .buffer(args.dlogits)
      .value(CrossEntropyKargs{.plan = plan,
                               .stride = args.logits.stride(0),
                               .ignore_index = args.ignore_index,
                               .first_row = 0,
                               .label_smoothing = args.label_smoothing,
                               .has_weights = args.weights ? 1 : 0,
                               .has_dloss = args.dloss ? 1 : 0,
                               .has_factor = args.factor ? 1 : 0})
      .elements(plan.rows, plan.columns);
  return KernelStatus::ok();
}

}  // namespace wick::mps
