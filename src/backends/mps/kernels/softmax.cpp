#include "backends/mps/kernels/softmax_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/row_plan.hpp"
#include "runtime/args/softmax_args.hpp"

namespace wick::mps {

static_assert(sizeof(SoftmaxKargs) == 32);

namespace {

KernelStatus forward(Stream& stream, const SoftmaxArgs& args, std::uint32_t logarithm) {
  if (args.x.numel() == 0) return KernelStatus::ok();
  const RowPlan plan = plan_rows(args.x.dim(0), args.x.dim(1));
  Dispatch dispatch(stream,
                    {"softmax", "softmax", {held_elements(plan), logarithm, dtype_of(args.x)}});
  dispatch.buffer(args.x).buffer(args.out).value(SoftmaxKargs{plan, args.x.stride(0)});
  run_rows(dispatch, plan);
  return KernelStatus::ok();
}

KernelStatus backward(Stream& stream, const SoftmaxBackwardArgs& args, std::uint32_t logarithm) {
  if (args.y.numel() == 0) return KernelStatus::ok();
  const RowPlan plan = plan_rows(args.y.dim(0), args.y.dim(1));
  Dispatch dispatch(
      stream, {"softmax", "softmax_backward", {held_elements(plan), logarithm, dtype_of(args.y)}});
  dispatch.buffer(args.dy).buffer(args.y).buffer(args.dx).value(plan);
  run_rows(dispatch, plan);
  return KernelStatus::ok();
}

}  // namespace

KernelStatus softmax(Stream& stream, const SoftmaxArgs& args) { return forward(stream, args, 0); }

KernelStatus log_softmax(Stream& stream, const SoftmaxArgs& args) {
  return forward(stream, args, 1);
}

KernelStatus softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  return backward(stream, args, 0);
}

KernelStatus log_softmax_backward(Stream& stream, const SoftmaxBackwardArgs& args) {
  return backward(stream, args, 1);
}

}  // namespace wick::mps
