#include <algorithm>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/embedding_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/embedding_args.hpp"

namespace wick::mps {

static_assert(sizeof(EmbeddingKargs) == 32);

namespace {

constexpr std::uint64_t kThreads = 64;
constexpr std::int64_t kMostIds = std::int64_t{1} << 31;  // a link has 31 bits

apple::metal::Size grid_of(std::int64_t D, std::int64_t N) {
  return {static_cast<std::uint64_t>(D), static_cast<std::uint64_t>(N)};
}
apple::metal::Size group_of(std::int64_t columns) {
  return {std::min(static_cast<std::uint64_t>(columns), kThreads)};
}

}  // namespace

KernelStatus embedding(Stream& stream, const EmbeddingArgs& args) {
  const std::int64_t N = args.ids.numel();
  const std::int64_t D = args.weight.dim(1);
  if (N == 0 || D == 0) return KernelStatus::ok();
  Dispatch(stream, {"embedding", "embedding", {dtype_of(args.weight), dtype_of(args.ids)}})
      .buffer(args.weight)
      .buffer(args.ids)
      .buffer(args.out)
      .fault()
      .value(EmbeddingKargs{N, D, args.weight.dim(0), args.weight.stride(0)})
      .threads(grid_of(D, N), group_of(D));
  return KernelStatus::ok();
}

KernelStatus embedding_backward(Stream& stream, const EmbeddingBackwardArgs& args) {
  const std::int64_t N = args.ids.numel();
  const std::int64_t D = args.dweight.dim(1);
  if (args.dweight.numel() == 0) return KernelStatus::ok();
  if (N >= kMostIds) return KernelStatus::unsupported("2^31 ids and more");
  const Scratch next(stream, static_cast<std::size_t>(N) * sizeof(std::uint32_t));
  KernelStatus cleared = fill(stream, {.out = args.dweight, .value = 0});
  if (N == 0 || !cleared.is_ok()) return cleared;
  const EmbeddingKargs kargs{N, D, args.dweight.dim(0), D};
  Dispatch(stream, {"embedding", "embedding_link", {dtype_of(args.dy), dtype_of(args.ids)}})
      .buffer(args.ids)
      .memory(next.data())
      .value(kargs)
      .threads({static_cast<std::uint64_t>(N)}, group_of(N));
  Dispatch(stream, {"embedding", "embedding_backward", {dtype_of(args.dy), dtype_of(args.ids)}})
      .buffer(args.dy)
      .buffer(args.ids)
      .memory(next.data())
      .buffer(args.dweight)
      .value(kargs)
      .threads(grid_of(D, N), group_of(D));
  return KernelStatus::ok();
}

}  // namespace wick::mps
