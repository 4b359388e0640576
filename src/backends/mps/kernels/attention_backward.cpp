#include "backends/mps/attention_problem.hpp"
#include "backends/mps/mps_kernels.hpp"

namespace wick::mps {

namespace {

constexpr std::uint32_t kRows = kMostTileRows;

struct Backward {
  Stream& stream;
  const AttentionBackwardArgs& args;
  AttentionKargs kargs;
  const void* delta;

  KernelId kernel(std::string_view function, std::uint32_t given) const {
    return {"attention_backward", function, {dtype_of(args.q), kRows, given}};
  }
  std::uint32_t given() const {
    return given_of(args.mask, {&args.dout, &args.q, &args.k, &args.v});
  }
  std::int64_t heads() const { return args.q.dim(0) * args.k.dim(2); }

  void make_delta() const {
    AttentionKargs whole = kargs;
    whole.slices = 1;  // a simdgroup reads a whole row
    Dispatch dispatch(stream, kernel("attention_delta", 0));
    dispatch.buffer(args.dout).buffer(args.out).memory(delta).value(whole);
    run_tiles(dispatch, whole, kargs.rows, kRows, heads());
  }
  void bind_inputs(Dispatch& dispatch) const {
    dispatch.buffer(args.dout)
        .buffer(args.q)
        .buffer(args.k)
        .buffer(args.v)
        .buffer(args.mask.key_mask)
        .buffer(args.mask.segments)
        .buffer(args.lse)
        .memory(delta);
  }
  void make_dq() const {
    Dispatch dispatch(stream, kernel("attention_dq", given()), 3 * attention_work(args.q, args.k));
    bind_inputs(dispatch);
    dispatch.buffer(args.dq).value(kargs);
    run_tiles(dispatch, kargs, kargs.rows, kRows, heads());
  }
  void make_dkv() const {
    const std::uint32_t wanted = given() | (args.dk ? std::uint32_t{kGivenDk} : 0u) |
                                 (args.dv ? std::uint32_t{kGivenDv} : 0u);
    Dispatch dispatch(stream, kernel("attention_dkv", wanted), 4 * attention_work(args.q, args.k));
    bind_inputs(dispatch);
    dispatch.buffer(args.dk).buffer(args.dv).value(kargs);
    run_tiles(dispatch, kargs, kargs.S, kRows, heads());
  }
};

}  // namespace

KernelStatus attention_backward(Stream& stream, const AttentionBackwardArgs& args) {
  if (!fits_attention(args.q, args.k)) {
    return KernelStatus::unsupported("more than 2^30 rows or keys");
  }
  const bool has_rows = args.q.numel() > 0;
  const bool has_keys = args.k.numel() > 0;
  const Scratch delta(stream, static_cast<std::size_t>(args.lse.numel()) * sizeof(float));
  const Backward backward{stream, args,
                          attention_kargs(args.q, args.k, args.v, args.dout, args.mask, args.scale),
                          has_rows ? delta.data() : nullptr};
  if (has_rows) backward.make_delta();
  if (has_rows && args.dq) backward.make_dq();
  if (has_keys && (args.dk || args.dv)) backward.make_dkv();
  return KernelStatus::ok();
}

}  // namespace wick::mps
