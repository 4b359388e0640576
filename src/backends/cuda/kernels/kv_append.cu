#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/launch.cuh"
#include "runtime/args/attention_args.hpp"

namespace wick::cuda {

namespace {

// In units of `Unit`: a token has `token`, a sequence `added` of them and room for `room`.
template <class Unit>
struct Append {
  const Unit* k;
  const Unit* v;
  Unit* k_memory;
  Unit* v_memory;
  const std::int32_t* position;
  std::int64_t begin;
  std::int64_t token;
  std::int64_t added;
  std::int64_t room;
};

constexpr int kThreads = 128;

// blockIdx.y: the sequence; blockIdx.z: k or v. A thread has every gridDim.x · kThreads-th unit.
template <class Unit>
__global__ void __launch_bounds__(kThreads) kv_append_kernel(Append<Unit> a) {
  hopper::overlap();
  const std::int64_t begin = a.position == nullptr ? a.begin : std::int64_t{*a.position};
  const std::int64_t b = blockIdx.y;
  const Unit* const from = (blockIdx.z == 0 ? a.k : a.v) + b * a.added;
  Unit* const to = (blockIdx.z == 0 ? a.k_memory : a.v_memory) + b * a.room;
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < a.added; i += step) {
    const std::int64_t at = begin * a.token + i;
    if (at >= 0 && at < a.room) to[at] = from[i];
  }
}

template <class Unit>
void append_units(Stream& stream, const KvAppendArgs& args) {
  const std::int64_t token_bytes =
      args.k.dim(2) * args.k.dim(3) * static_cast<std::int64_t>(size_of(args.k.dtype));
  const std::int64_t token = token_bytes / static_cast<std::int64_t>(sizeof(Unit));
  const Append<Unit> append{.k = static_cast<const Unit*>(args.k.data),
                            .v = static_cast<const Unit*>(args.v.data),
                            .k_memory = static_cast<Unit*>(args.k_memory.data),
                            .v_memory = static_cast<Unit*>(args.v_memory.data),
                            .position = data_of<const std::int32_t>(args.position),
                            .begin = args.begin,
                            .token = token,
                            .added = args.k.dim(1) * token,
                            .room = args.k_memory.dim(1) * token};
  const dim3 grid(grid_of(stream, append.added, kThreads), static_cast<unsigned>(args.k.dim(0)), 2);
  const MemoryRange written[] = {range_of(args.k_memory), range_of(args.v_memory)};
  launch_overlapping(stream, kv_append_kernel<Unit>, grid, kThreads, 0, {.written = written},
                     append);
}

}  // namespace

KernelStatus kv_append(Stream& stream, const KvAppendArgs& args) {
  constexpr std::int64_t kMostSequences = 65535;  // of a grid's second dimension
  if (args.k.numel() == 0) return KernelStatus::ok();
  if (args.k.dim(0) > kMostSequences) return KernelStatus::unsupported("more than 65535 sequences");
  const std::size_t size = size_of(args.k.dtype);
  const bool whole_packs =
      args.k.dim(2) * args.k.dim(3) * static_cast<std::int64_t>(size) % 16 == 0 &&
      is_aligned(args.k.data, 16) && is_aligned(args.v.data, 16) &&
      is_aligned(args.k_memory.data, 16) && is_aligned(args.v_memory.data, 16);
  if (whole_packs) {
    append_units<uint4>(stream, args);
  } else if (size == sizeof(std::uint32_t)) {
    append_units<std::uint32_t>(stream, args);
  } else {
    append_units<std::uint16_t>(stream, args);
  }
  return KernelStatus::ok();
}

}  // namespace wick::cuda
