#include <algorithm>
#include <cmath>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/reduce_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/strided.hpp"
#include "runtime/args/reduce_args.hpp"

namespace wick::mps {

static_assert(sizeof(SumKargs) == 2 * sizeof(Loops<1>) + 24);
static_assert(sizeof(FinishSumKargs) == 24);

namespace {

constexpr std::int64_t kGroupThreads = 128;
constexpr std::int64_t kShortSum = 64;   // terms that a thread adds up alone
constexpr std::int64_t kEnough = 16384;  // threads that keep a GPU at work

bool is_inner(const Loops<1>& loops) {
  return loops.rank > 0 && loops.strides[loops.rank - 1][0] == 1;
}

// Outputs that are neighbours in memory while their terms are not, and short sums: a thread each.
bool by_threads(const SumKargs& args) {
  return args.reduced.numel <= kShortSum || (is_inner(args.kept) && !is_inner(args.reduced));
}

// Few outputs of many terms are cut into parts, so that they fill the device.
void cut(SumKargs& args) {
  const std::int64_t threads = by_threads(args) ? 1 : kGroupThreads;
  const std::int64_t terms_each = by_threads(args) ? kShortSum : 16 * kGroupThreads;
  const std::int64_t wanted = kEnough / std::max<std::int64_t>(args.kept.numel * threads, 1);
  const std::int64_t useful = ceil_div(args.reduced.numel, terms_each);
  const std::int64_t parts = std::clamp<std::int64_t>(std::min(wanted, useful), 1, 1024);
  args.terms_per_part = std::max<std::int64_t>(ceil_div(args.reduced.numel, parts), 1);
  args.parts = static_cast<std::int32_t>(
      std::max<std::int64_t>(ceil_div(args.reduced.numel, args.terms_per_part), 1));
}

void sum_parts(Stream& stream, const ReduceArgs& args, const SumKargs& kargs, const void* out) {
  const auto outputs = static_cast<std::uint64_t>(kargs.kept.numel);
  const auto parts = static_cast<std::uint64_t>(kargs.parts);
  const bool threads = by_threads(kargs);
  Dispatch dispatch(stream, {"reduce",
                             threads ? "sum_by_threads" : "sum_by_groups",
                             {dtype_of(args.x), parts > 1 ? 1U : 0U}});
  dispatch.buffer(args.x).memory(out).value(kargs);
  if (threads) {
    dispatch.threads({outputs, parts}, {std::min<std::uint64_t>(outputs, kGroupThreads)});
  } else {
    dispatch.groups({outputs, parts}, {kGroupThreads});
  }
}

}  // namespace

KernelStatus sum(Stream& stream, const ReduceArgs& args) {
  if (args.x.dtype == DType::kU8) return KernelStatus::unsupported("sums of u8 are not defined");
  const int num_kept = args.x.rank() - args.num_reduced;
  SumKargs kargs{.kept = loops_over(0, num_kept, args.x),
                 .reduced = loops_over(num_kept, args.x.rank(), args.x),
                 .terms_per_part = 0,
                 .whole_factor = static_cast<std::int64_t>(args.factor),
                 .factor = static_cast<float>(args.factor),
                 .parts = 1};
  if (!is_floating(args.x.dtype) && std::trunc(args.factor) != args.factor) {
    return KernelStatus::unsupported("integers are multiplied by whole factors only");
  }
  if (kargs.kept.numel == 0) return KernelStatus::ok();
  cut(kargs);
  if (kargs.parts == 1) {
    sum_parts(stream, args, kargs, args.out.data);
    return KernelStatus::ok();
  }
  constexpr std::size_t kTotalBytes = 8;
  const Scratch partial(stream,
                        static_cast<std::size_t>(kargs.kept.numel * kargs.parts) * kTotalBytes);
  sum_parts(stream, args, kargs, partial.data());
  Dispatch(stream, {"reduce", "sum_finish", {dtype_of(args.x), 0}})
      .memory(partial.data())
      .buffer(args.out)
      .value(FinishSumKargs{kargs.kept.numel, kargs.whole_factor, kargs.factor, kargs.parts})
      .threads({static_cast<std::uint64_t>(kargs.kept.numel)},
               {static_cast<std::uint64_t>(std::min(kargs.kept.numel, kGroupThreads))});
  return KernelStatus::ok();
}

}  // namespace wick::mps
