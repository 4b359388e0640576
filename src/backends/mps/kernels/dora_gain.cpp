#include "backends/mps/kernels/dora_gain_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/row_plan.hpp"
#include "runtime/args/dora_gain_args.hpp"

namespace wick::mps {

static_assert(sizeof(DoraGainKargs) == 56);
static_assert(sizeof(DoraGainBackwardKargs) == 8);

namespace {
// Rows of w are read once: there is nothing to keep.
constexpr std::uint32_t kReadOnce = 0;
constexpr std::int64_t kRowsEach = 4;  // of a thread, as in dora_gain.metal
}  // namespace

KernelStatus dora_gain(Stream& stream, const DoraGainArgs& args) {
  const std::int64_t N = args.w.dim(0);
  const std::int64_t K = args.w.dim(1);
  const std::int64_t R = args.a.dim(0);
  if (N == 0) return KernelStatus::ok();
  const RowPlan plan = plan_rows(ceil_div(N, kRowsEach), K);
  const double work =
      2.0 * static_cast<double>(N) * static_cast<double>(K) * static_cast<double>(R + 1);
  Dispatch dispatch(
      stream, {"dora_gain", "dora_gain", {kReadOnce, dtype_of(args.w), dtype_of(args.a)}}, work);
  dispatch.buffer(args.magnitude)
      .buffer(args.w)
      .buffer(args.a)
      .buffer(args.b)
      .buffer(args.out)
      .buffer(args.norm)
      .value(DoraGainKargs{plan, N, args.w.stride(0), R, args.scale, args.norm ? 1 : 0});
  run_rows(dispatch, plan);
  return KernelStatus::ok();
}

KernelStatus dora_gain_backward(Stream& stream, const DoraGainBackwardArgs& args) {
  const std::int64_t numel = args.dy.numel();
  if (numel == 0) return KernelStatus::ok();
  const std::uint32_t f32 = dtype_of(args.dy);
  Dispatch(stream, {"dora_gain", "dora_gain_backward", {kReadOnce, f32, f32}})
      .buffer(args.dy)
      .buffer(args.norm)
      .buffer(args.dmagnitude)
      .value(DoraGainBackwardKargs{numel})
      .items(numel);
  return KernelStatus::ok();
}

}  // namespace wick::mps
