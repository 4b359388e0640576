#include <algorithm>

#include "backends/mps/attention_problem.hpp"
#include "backends/mps/mps_kernels.hpp"

namespace wick::mps {

namespace {

// Rows of a simdgroup. Few rows, as when tokens are decoded one by one, are spread over the simdgroups.
std::uint32_t tile_rows(const AttentionKargs& kargs) {
  return kargs.rows <= static_cast<int>(kTileSimds) ? 1 : std::uint32_t{kMostTileRows};
}

// Too few tiles of rows leave most of a GPU idle: then the keys are shared out, too.
void split_keys(AttentionKargs& kargs, std::int64_t heads) {
  constexpr std::int64_t kWantedGroups = 64;
  constexpr std::int64_t kLeastKeys = 128;  // of a split: far more work than merging
  const std::int64_t rows = std::int64_t{kTileSimds} * tile_rows(kargs);
  const std::int64_t groups = ceil_div(kargs.rows, rows) * kargs.slices * heads;
  const std::int64_t wanted =
      std::min(ceil_div(kWantedGroups, groups), ceil_div(kargs.S, kLeastKeys));
  if (wanted < 2) return;
  const std::int64_t tiles = ceil_div(ceil_div(kargs.S, kTileLanes), wanted);
  kargs.split_keys = static_cast<std::int32_t>(tiles * kTileLanes);
  kargs.splits = static_cast<std::int32_t>(ceil_div(kargs.S, kargs.split_keys));
}

struct Forward {
  Stream& stream;
  const AttentionArgs& args;
  AttentionKargs kargs;
  std::int64_t heads;

  std::uint32_t given() const {
    return given_of(args.mask, {&args.q, &args.k, &args.v}) |
           (args.lse ? std::uint32_t{kGivenLse} : 0u) |
           (kargs.splits > 1 ? std::uint32_t{kGivenSplits} : 0u);
  }
  void attend(const void* split_out, const void* split_lse) const {
    const std::uint32_t rows = tile_rows(kargs);
    Dispatch dispatch(stream, {"attention", "attention", {dtype_of(args.q), rows, given()}},
                      2 * attention_work(args.q, args.k));
    dispatch.buffer(args.q)
        .buffer(args.k)
        .buffer(args.v)
        .buffer(args.mask.key_mask)
        .buffer(args.mask.segments)
        .buffer(args.out)
        .buffer(args.lse)
        .memory(split_out)
        .memory(split_lse)
        .value(kargs);
    run_tiles(dispatch, kargs, kargs.rows, rows, heads);
  }
  void merge(const void* split_out, const void* split_lse) const {
    const std::int64_t rows = kargs.split_elements / kargs.Dh;
    Dispatch(
        stream,
        {"attention", "attention_merge", {dtype_of(args.q), std::uint32_t{kMostTileRows}, given()}})
        .memory(split_out)
        .memory(split_lse)
        .buffer(args.out)
        .buffer(args.lse)
        .value(kargs)
        .groups({static_cast<std::uint64_t>(ceil_div(rows, kTileSimds))}, {kTileThreads});
  }
};

}  // namespace

KernelStatus attention(Stream& stream, const AttentionArgs& args) {
  if (args.out.numel() == 0) return KernelStatus::ok();
  if (!fits_attention(args.q, args.k)) {
    return KernelStatus::unsupported("more than 2^30 rows or keys");
  }
  Forward forward{stream, args,
                  attention_kargs(args.q, args.k, args.v, args.out, args.mask, args.scale),
                  args.q.dim(0) * args.k.dim(2)};
  split_keys(forward.kargs, forward.heads);
  if (forward.kargs.splits == 1) {
    forward.attend(nullptr, nullptr);
    return KernelStatus::ok();
  }
  const auto elements = static_cast<std::size_t>(forward.kargs.split_elements);
  const auto splits = static_cast<std::size_t>(forward.kargs.splits);
  const Scratch split_out(stream, splits * elements * sizeof(float));
  const Scratch split_lse(
      stream, splits * (elements / static_cast<std::size_t>(forward.kargs.Dh)) * sizeof(float));
  forward.attend(split_out.data(), split_lse.data());
  forward.merge(split_out.data(), split_lse.data());
  return KernelStatus::ok();
}

}  // namespace wick::mps
