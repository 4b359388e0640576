#include "backends/cuda/kernels/decode_attention.cuh"

#include <algorithm>

#include "backends/cuda/cuda_kernels.hpp"
#include "runtime/args/decode_attention_args.hpp"
#include "runtime/variants.hpp"

namespace wick::cuda {

namespace {

constexpr int kFewestKeys = 16;  // of a block

template <class T>
DecodeProblem<T> problem_of(const DecodeAttentionArgs& a) {
  const bool is_short = a.positions.dtype == DType::kI32;
  const AttentionMask& mask = a.mask;
  DecodeProblem<T> p{
      .q = HeadRows<const T>(a.q),
      .k = HeadRows<const T>(a.k),
      .v = HeadRows<const T>(a.v),
      .k_memory = data_of<T>(a.k_memory),
      .v_memory = data_of<T>(a.v_memory),
      .out = data_of<T>(a.out),
      .S = a.k_memory.dim(1),
      .first = 0,
      .visible = static_cast<int>(a.visible),
      .position = data_of<const std::int32_t>(a.position),
      .begin = a.begin,
      .short_positions = is_short ? data_of<const std::int32_t>(a.positions) : nullptr,
      .long_positions = is_short ? nullptr : data_of<const std::int64_t>(a.positions),
      .position_batch = a.positions.stride(0),
      .inv_freq = data_of<const float>(a.inv_freq),
      .attention_factor = a.attention_factor,
      .P = static_cast<int>(a.inv_freq.dim(0)),
      .Hkv = static_cast<int>(a.k.dim(2)),
      .group = static_cast<int>(a.q.dim(2) / a.k.dim(2)),
      .head_tiles = 1,
      .Dh = static_cast<int>(a.q.dim(3)),
      .window = mask.window,
      .key_mask = data_of<const unsigned char>(mask.key_mask),
      .key_mask_strides = {0, 0},
      .scale = a.scale,
      .cluster_log = 0};
  if (!a.position && mask.window > 0) {
    p.first = static_cast<int>(std::max<std::int64_t>(a.begin + 1 - mask.window, 0));
  }
  for (int axis = 0; axis < 2 && mask.key_mask; ++axis) {
    p.key_mask_strides[axis] = mask.key_mask.stride(axis);
  }
  return p;
}

// The logarithm of the most blocks that run at the same time and have enough keys each.
template <class Shape>
int cluster_log_for(Stream& stream, std::int64_t tasks, std::int64_t keys) {
  constexpr std::size_t kBytes = sizeof(DecodeMemory<Shape>);
  const std::int64_t multiprocessors = backend_of_stream(stream).properties().multiProcessorCount;
  const auto suits = [&](int blocks) {
    return tasks * blocks <= multiprocessors && keys >= std::int64_t{blocks} * kFewestKeys &&
           resident_clusters(stream, decode_attention_kernel<Shape>, blocks, dim3(kDecodeThreads),
                             kBytes) >= tasks;
  };
  int log = 0;
  while (2 << log <= kMostDecodeBlocks && suits(2 << log)) ++log;
  return log;
}

template <class Shape>
KernelStatus launch_decode(Stream& stream, const DecodeAttentionArgs& a) {
  constexpr std::size_t kBytes = sizeof(DecodeMemory<Shape>);
  const auto kernel = decode_attention_kernel<Shape>;
  if (!has_hopper_code(stream, kernel)) {
    return KernelStatus::unsupported("the GPU has no clusters of blocks");
  }
  auto p = problem_of<typename Shape::T>(a);
  p.head_tiles = static_cast<int>(ceil_div(p.group, kDecodeHeads));
  const std::int64_t tasks = a.q.dim(0) * p.Hkv * p.head_tiles;
  backend_of_stream(stream).make_current();  // the attribute belongs to the current device
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(kBytes)),
        "cudaFuncSetAttribute");
  p.cluster_log = cluster_log_for<Shape>(stream, tasks, a.visible - p.first);
  const int cluster = 1 << p.cluster_log;
  const MemoryRange written[] = {range_of(a.out), range_of(a.k_memory), range_of(a.v_memory)};
  const MemoryRange early[] = {range_of(a.positions), range_of(a.inv_freq),
                               range_of(a.position),  range_of(a.mask.key_mask),
                               range_of(a.k_memory),  range_of(a.v_memory)};
  const Overlapping order{.written = written, .early = early, .cluster = cluster};
  launch_overlapping(stream, kernel, static_cast<unsigned>(tasks * cluster), kDecodeThreads, kBytes,
                     order, p);
  return KernelStatus::ok();
}

template <class T>
KernelStatus launch_dims(Stream& stream, const DecodeAttentionArgs& a) {
  if (a.q.dim(3) <= 64) return launch_decode<DecodeShape<T, 64>>(stream, a);
  return launch_decode<DecodeShape<T, 128>>(stream, a);
}

// Whether packs of 8 elements are whole wherever one is read or written.
bool has_whole_packs(const DecodeAttentionArgs& a) {
  constexpr int kPack = 8;
  return a.q.dim(3) % kPack == 0 && a.inv_freq.dim(0) % kPack == 0 &&
         has_packs<kPack>(a.q, a.out) && has_packs<kPack>(a.k, a.k_memory) &&
         has_packs<kPack>(a.v, a.v_memory);
}

KernelStatus fused(Stream& stream, const DecodeAttentionArgs& a) {
  constexpr std::int64_t kMostHeads = std::int64_t{1} << 20;  // of all sequences
  constexpr std::int64_t kMostKeys = std::int64_t{1} << 30;
  if (size_of(a.q.dtype) != 2) return KernelStatus::unsupported("elements of 32 bits");
  if (a.q.dim(3) > 128) return KernelStatus::unsupported("heads of more than 128 elements");
  if (!has_whole_packs(a)) return KernelStatus::unsupported("heads that are not of whole packs");
  if (a.mask.segments) return KernelStatus::unsupported("segments");
  if (a.q.dim(0) * a.q.dim(2) > kMostHeads || a.k_memory.dim(1) > kMostKeys) {
    return KernelStatus::unsupported("too many heads or keys");
  }
  if (a.q.dtype == DType::kF16) return launch_dims<half>(stream, a);
  return launch_dims<bfloat16>(stream, a);
}

// Keeps what is above from every call, where it is forced: to compare them.
KernelStatus apart(Stream& /*stream*/, const DecodeAttentionArgs& /*a*/) {
  return KernelStatus::unsupported("asked for ops one by one");
}

}  // namespace

KernelStatus decode_attention(Stream& stream, const DecodeAttentionArgs& a) {
  static constexpr Variant<DecodeAttentionArgs> kVariants[] = {{"fused", fused}, {"apart", apart}};
  return run_variants<DecodeAttentionArgs>("decode_attention", kVariants, stream, a);
}

}  // namespace wick::cuda
