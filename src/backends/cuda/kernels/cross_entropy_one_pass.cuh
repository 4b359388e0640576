#pragma once

#include "backends/cuda/exponential.cuh"
#include "backends/cuda/hopper_barrier.cuh"
#include "backends/cuda/kernels/cross_entropy_rows.cuh"

// The loss of f32 logits and the gradient of its sum, each logit read once: a row lies in the registers of a block, a
// longer one in those of a cluster of blocks, which tell each other their sums. Two blocks share a multiprocessor, so
// that one computes while the other one's row is on its way.

namespace wick::cuda {

inline constexpr int kOnePassThreads = 512;
inline constexpr int kOnePassBlocks = 1024 / kOnePassThreads;  ///< of a multiprocessor
inline constexpr int kOnePassValues = 40;  ///< of a row in a thread, which has 64 registers
inline constexpr int kMostRowBlocks = 16;

/// How many blocks have a row, and how many of its columns each.
struct RowCut {
  int blocks;
  int share;
};

/// What a block knows of its part of a row.
struct alignas(16) RowPart {
  float max;
  float sum;  ///< Σ exp(z − max)
  float logit_sum;
  float unused;
};

/// values[at..at+kVec) = z[0..kVec), if `given`. In one instruction, lest old and new values take a register each.
template <int kVec, int kSize>
__device__ __forceinline__ void load_where(bool given, const float* z, float (&values)[kSize],
                                           int at) {
  static_assert(kVec == 1 || kVec == 4);
  if constexpr (kVec == 1) {
    asm volatile(
        "{\n.reg .pred given;\nsetp.ne.s32 given, %2, 0;\n@given ld.global.f32 %0, [%1];\n}\n"
        : "+f"(values[at])
        : "l"(z), "r"(static_cast<int>(given)));
  } else {
    asm volatile(
        "{\n.reg .pred given;\nsetp.ne.s32 given, %5, 0;\n"
        "@given ld.global.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];\n}\n"
        : "+f"(values[at]), "+f"(values[at + 1]), "+f"(values[at + 2]), "+f"(values[at + 3])
        : "l"(z), "r"(static_cast<int>(given)));
  }
}

/// The elements of a thread. Packs are a constant apart, so that their addresses take one register.
template <int kVec>
struct RowShare {
  static constexpr int kPacks = kOnePassValues / kVec;
  int columns;  ///< of the block

  __device__ __forceinline__ int column(int i) const {
    return (i * kOnePassThreads + static_cast<int>(threadIdx.x)) * kVec;
  }
  __device__ __forceinline__ bool has(int i) const { return column(i) < columns; }

  /// −∞ where the row has none.
  __device__ __forceinline__ void load(const float* z, float (&values)[kOnePassValues]) const {
#pragma unroll
    for (int i = 0; i < kOnePassValues; ++i) values[i] = -INFINITY;
#pragma unroll
    for (int i = 0; i < kPacks; ++i) load_where<kVec>(has(i), z + column(i), values, i * kVec);
  }
};

struct OnePassRooms {
  ReduceRoom<1> for_max;
  ReduceRoom<2> for_sums;
  RowPart parts[2][kMostRowBlocks];  ///< by turns: a block may be a row ahead of another one
};

/// values become exp(value − the largest of the block's).
template <bool kSmooth, class Out, int kVec>
__device__ __forceinline__ RowPart exponentiate(float (&values)[kOnePassValues],
                                                const RowShare<kVec>& share, OnePassRooms& rooms) {
  float max = -INFINITY;
  float sums[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < kOnePassValues; ++i) {
    max = RowMax::apply(max, values[i]);
    if (kSmooth && share.has(i / kVec)) sums[1] += values[i];
  }
  max = row_reduce<RowMax>(max, rooms.for_max);
  const float base = exponent_base(max);
#pragma unroll
  for (int i = 0; i < kOnePassValues; ++i) {
    values[i] = exponential<Out>(values[i] - base);
    sums[0] += values[i];
  }
  row_reduce<RowSum>(sums, rooms.for_sums);
  return {max, sums[0], sums[1], 0};
}

/// The part of the whole row, in every thread of its blocks; all of them call it. What the row's threads read of it
/// before is read.
template <bool kSmooth>
__device__ __forceinline__ RowPart join_parts(const RowPart& own, RowPart* parts, int blocks,
                                              int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (blocks > 1) {
    if (static_cast<int>(threadIdx.x) < blocks) hopper::store_at(threadIdx.x, parts + rank, own);
    hopper::meet_cluster();
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    const RowPart part = lane < blocks ? parts[lane] : RowPart{-INFINITY, 0, 0, 0};
    const float max = warp_reduce<RowMax>(part.max);
    const float sum = warp_reduce<RowSum>(part.sum * expf(part.max - exponent_base(max)));
    return {max, sum, kSmooth ? warp_reduce<RowSum>(part.logit_sum) : 0.0F, 0};
  }
#endif
  __syncthreads();
  return own;
}

/// dz = w (softmax − (1 − ε) onehot(t) − ε / V) from the exponentials. `at`: the target, counted from the block's
/// first column; `rate` takes an exponential to its probability.
template <int kVec, class Out>
__device__ __forceinline__ void store_gradient(Out* dz, const float (&values)[kOnePassValues],
                                               const RowShare<kVec>& share, int at,
                                               float target_value, float rate, float weight,
                                               float smoothing, float V) {
  const float uniform = smoothing / V;
  const float scale = weight * rate;
  const float offset = weight * uniform;
#pragma unroll
  for (int i = 0; i < kOnePassValues / kVec; ++i) {
    if (!share.has(i)) continue;
    float gradient[kVec];
#pragma unroll
    for (int j = 0; j < kVec; ++j) gradient[j] = fmaf(values[i * kVec + j], scale, -offset);
    store_values<kVec>(dz + share.column(i), gradient);
  }
  // Once more by the thread that has the target: cheaper than a comparison in each element.
  if (at < 0 || at >= share.columns || at / kVec % kOnePassThreads != static_cast<int>(threadIdx.x))
    return;
  dz[at] = from_float<Out>(weight * (target_value * rate - (1.0F - smoothing) - uniform));
}

template <int kVec, class Out>
__device__ __forceinline__ void store_zeros(Out* dz, const RowShare<kVec>& share) {
  const float zeros[kVec] = {};
#pragma unroll 1
  for (int i = 0; share.has(i); ++i) store_values<kVec>(dz + share.column(i), zeros);
}

/// logits [N,V], dlogits [N,V] dense, which may be the logits. cut.blocks blocks take every gridDim.x / cut.blocks-th
/// row and share it evenly.
template <int kVec, bool kSmooth, class Out, class Index>
__global__ void __launch_bounds__(kOnePassThreads, kOnePassBlocks)
    cross_entropy_one_pass(LossRows<float, Index> a, Out* dlogits, RowCut cut) {
  __shared__ OnePassRooms rooms;
  const int rank = static_cast<int>(blockIdx.x) % cut.blocks;
  const int begin = rank * cut.share;
  const RowShare<kVec> share{min(cut.share, max(static_cast<int>(a.V) - begin, 0))};
  const int N = static_cast<int>(a.N);
  const int step = static_cast<int>(gridDim.x) / cut.blocks;
  int n = static_cast<int>(blockIdx.x) / cut.blocks;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (cut.blocks > 1) hopper::meet_cluster();  // the memory of all of them may be written
#endif
  std::int64_t next = n < N ? a.targets[n] : 0;
  for (int turn = 0; n < N; n += step) {
    const std::int64_t target = next;
    if (n + step < N) next = a.targets[n + step];
    Out* const dz = dlogits + static_cast<std::int64_t>(n) * a.V + begin;
    const bool speaks = rank == 0 && threadIdx.x == 0;
    if (!a.counts(target)) {
      if (speaks) a.leave_out(n, target);
      store_zeros(dz, share);
      continue;
    }
    const float* const z = a.logits + n * a.stride;
    const float weight = a.weight(n);
    const float target_logit = z[target];
    float values[kOnePassValues];
    share.load(z + begin, values);
    const RowPart own = exponentiate<kSmooth, Out>(values, share, rooms);
    const RowPart row = join_parts<kSmooth>(own, rooms.parts[turn], cut.blocks, rank);
    turn ^= 1;
    const float base = exponent_base(own.max);
    // Without any probability a softmax of zeros.
    const float rate =
        row.max == -INFINITY ? 0.0F : expf(own.max - exponent_base(row.max)) / row.sum;
    store_gradient<kVec>(dz, values, share, static_cast<int>(target) - begin,
                         exponential<Out>(target_logit - base), rate, weight, a.label_smoothing,
                         static_cast<float>(a.V));
    if (speaks) a.finish(n, {row.max, row.sum, target_logit, row.logit_sum}, weight);
  }
}

// ---- Launches -----------------------------------------------------------------------------------

/// The fewest blocks, a power of two, whose registers hold a row of V elements.
inline RowCut cut_row(std::int64_t V, int vec) {
  const std::int64_t packs = ceil_div(V, vec);
  constexpr std::int64_t kValues = std::int64_t{kOnePassThreads} * kOnePassValues;
  int blocks = 1;
  while (blocks * (kValues / vec) < packs) blocks *= 2;
  return {.blocks = blocks, .share = static_cast<int>(ceil_div(packs, blocks) * vec)};
}

/// A thread for each pack of a block while there are so few.
inline int threads_of(const RowCut& cut, int vec) {
  const std::int64_t packs = ceil_div(cut.share / vec, kWarp) * kWarp;
  return static_cast<int>(std::min<std::int64_t>(packs, kOnePassThreads));
}

/// How many rows the GPU has in hand at a time; 0 where it does not run clusters of so many blocks.
template <class... Parameters>
int rows_at_a_time(Stream& stream, void (*kernel)(Parameters...), const RowCut& cut, int threads) {
  if (cut.blocks > 1) return resident_clusters(stream, kernel, cut.blocks, threads);
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  return blocks * backend_of_stream(stream).properties().multiProcessorCount;
}

template <int kVec, bool kSmooth, class Out, class Index>
KernelStatus launch_one_pass(Stream& stream, const LossRows<float, Index>& a, Out* dlogits) {
  const auto kernel = &cross_entropy_one_pass<kVec, kSmooth, Out, Index>;
  const RowCut cut = cut_row(a.V, kVec);
  const int threads = threads_of(cut, kVec);
  const std::int64_t rows = rows_at_a_time(stream, kernel, cut, threads);
  if (rows == 0) return KernelStatus::unsupported("no clusters of so many blocks on this GPU");
  const auto blocks = static_cast<unsigned>(std::min(rows, a.N) * cut.blocks);
  if (cut.blocks > 1) {
    launch_clusters_on(stream, kernel, cut.blocks, blocks, threads, 0, a, dlogits, cut);
  } else {
    launch_on(stream, kernel, blocks, threads, 0, a, dlogits, cut);
  }
  return KernelStatus::ok();
}

/// Enqueues the losses of N > 0 rows and their gradient.
template <class Out, class Index>
KernelStatus run_one_pass(Stream& stream, const LossRows<float, Index>& a, Out* dlogits) {
  constexpr std::int64_t kMostRows = std::int64_t{1} << 30;
  if (cut_row(a.V, 1).blocks > kMostRowBlocks || a.N > kMostRows) {
    return KernelStatus::unsupported("too many classes or rows");
  }
  const bool wide = a.V % kPackSize<float> == 0 && is_aligned(dlogits, 16) &&
                    rows_aligned(a.logits, sizeof(float), a.stride, a.N);
  const auto run = [&]<int kVec>(Int<kVec>) {
    return a.label_smoothing == 0 ? launch_one_pass<kVec, false>(stream, a, dlogits)
                                  : launch_one_pass<kVec, true>(stream, a, dlogits);
  };
  return wide ? run(Int<kPackSize<float>>{}) : run(Int<1>{});
}

}  // namespace wick::cuda
