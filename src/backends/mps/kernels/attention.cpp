#include "backends/mps/attention_problem.hpp"
#include "backends/mps/mps_kernels.hpp"

namespace wick::mps {

KernelStatus attention(Stream& stream, const AttentionArgs& args) {
  if (args.out.numel() == 0) return KernelStatus::ok();
  if (!fits_attention(args.q, args.k)) {
    return KernelStatus::unsupported("more than 2^30 rows or keys");
  }
  const AttentionKargs kargs =
      attention_kargs(args.q, args.k, args.v, args.out, args.mask, args.scale);
  // Few rows, as when tokens are decoded one by one, are spread over the simdgroups.
  const std::uint32_t rows = kargs.rows <= static_cast<int>(kTileSimds) ? 1 : std::uint32_t{kMostTileRows};
  const std::uint32_t given = given_of(args.mask) | (args.lse ? kGivenLse : 0u);
  Dispatch dispatch(stream, {"attention", "attention", {dtype_of(args.q), rows, given}},
                    2 * attention_work(args.q, args.k));
  dispatch.buffer(args.q)
      .buffer(args.k)
      .buffer(args.v)
      .buffer(args.mask.key_mask)
      .buffer(args.mask.segments)
      .buffer(args.out)
      .buffer(args.lse)
      .value(kargs);
  run_tiles(dispatch, kargs.rows, rows, kargs.Dh, args.q.dim(0) * args.k.dim(2));
  return KernelStatus::ok();
}

}  // namespace wick::mps
