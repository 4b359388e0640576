#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/rope_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/rope_args.hpp"

namespace wick::mps {

static_assert(sizeof(RopeKargs) == 72);

namespace {

void rotate(Stream& stream, const RopeArgs& args) {
  if (args.x.numel() == 0) return;
  const std::int64_t pairs = args.inv_freq.dim(0);
  const RopeKargs kargs{.x_batch = args.x.stride(0),
                        .x_token = args.x.stride(1),
                        .x_head = args.x.stride(2),
                        .position_batch = args.positions.stride(0),
                        .position_token = args.positions.stride(1),
                        .tokens_each = args.x.dim(1),
                        .heads = static_cast<std::int32_t>(args.x.dim(2)),
                        .width = static_cast<std::int32_t>(args.x.dim(3)),
                        .pairs = static_cast<std::int32_t>(pairs),
                        .factor = args.attention_factor,
                        .sign = args.inverse ? -1.0F : 1.0F,
                        .unused = 0};
  Dispatch(stream, {"rope", "rope", {dtype_of(args.x), dtype_of(args.positions)}})
      .buffer(args.x)
      .buffer(args.positions)
      .buffer(args.inv_freq)
      .buffer(args.out)
      .value(kargs)
      .elements(args.x.dim(0) * args.x.dim(1), args.x.dim(3) - pairs);
}

}  // namespace

KernelStatus rope(Stream& stream, const RopeArgs& args) {
  rotate(stream, args);
  if (args.y) rotate(stream, args.of_y());
  return KernelStatus::ok();
}

}  // namespace wick::mps
