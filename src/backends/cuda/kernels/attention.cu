#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/cudnn_attention.hpp"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/kernels/attention_scalar_forward.cuh"
#include "backends/cuda/kernels/attention_tensor_forward_kernel.cuh"
#include "runtime/variants.hpp"

namespace wick::cuda {

namespace {

// ---- Calls with few rows ------------------------------------------------------------------------

// As many parts of the keys as give every multiprocessor something to do.
KeySplits splits_of(Stream& stream, const AttentionProblem& p, std::int64_t tasks) {
  const std::int64_t wanted =
      2 * std::int64_t{backend_of_stream(stream).properties().multiProcessorCount} / tasks;
  const std::int64_t tiles = ceil_div(p.S, kAttentionTile);
  const std::int64_t count = std::min(wanted, tiles);
  if (count < 2) return {};
  const std::int64_t tiles_each = ceil_div(tiles, count);
  return {.count = static_cast<int>(ceil_div(tiles, tiles_each)),
          .keys = static_cast<int>(tiles_each * kAttentionTile)};
}

constexpr int kMergeRows = 4;  // of a block

// A warp makes the result of one row of one head from those of the splits: lane i has the weights of splits i, i + 32, …,
// and kColumns neighbouring columns.
template <int kColumns, class T>
__global__ void __launch_bounds__(kMergeRows* kWarp)
    merge_splits(const AttentionProblem p, const AttentionOutput<T> result, int splits) {
  hopper::overlap();
  const std::int64_t tokens = static_cast<std::int64_t>(p.B) * p.T * p.H;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kMergeRows + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (row >= tokens) return;
  const auto lse_of = [&](int i) {
    return i < splits ? result.partial_lse[i * tokens + row] : -INFINITY;
  };
  float total = 0;
  float shift = 0;
  for (int from = 0; from < p.Dh; from += kColumns * kWarp) {
    const int column = from + kColumns * lane;
    float most = -INFINITY;
    float sums[kColumns] = {};
    total = 0;
    for (int first = 0; first < splits; first += kWarp) {
      const float lse = lse_of(first + lane);
      const float next = fmaxf(most, warp_reduce<Max>(lse));
      shift = next == -INFINITY ? 0.0F : next;
      const float factor = expf(most - shift);
      const float own = expf(lse - shift);
      most = next;
      total = total * factor + warp_reduce<Sum>(own);
#pragma unroll
      for (float& sum : sums) sum *= factor;
      const int count = min(kWarp, splits - first);
#pragma unroll 8
      for (int i = 0; i < count; ++i) {
        const float weight = __shfl_sync(kAllLanes, own, i);
        if (column >= p.Dh) continue;
        float values[kColumns];
        load_pack(result.partial_out + ((first + i) * tokens + row) * p.Dh + column, values);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          if (weight != 0) sums[c] = fmaf(weight, values[c], sums[c]);
        }
      }
    }
    if (column >= p.Dh) continue;
    const float inverse = total == 0 ? 0.0F : 1.0F / total;
#pragma unroll
    for (float& sum : sums) sum *= inverse;
    store_pack<kColumns>(result.out + row * p.Dh + column, sums);
  }
  if (lane != 0 || result.lse == nullptr) return;
  const std::int64_t token = row / p.H;
  result.lse[(token / p.T * p.H + row % p.H) * p.T + token % p.T] =
      total == 0 ? -INFINITY : shift + logf(total);
}

// ---- Variants -----------------------------------------------------------------------------------

// Calls launch(result, splits, tasks) for tiles of this many rows, and merges what the splits found.
template <class T, class Launch>
void forward_in_tiles(Stream& stream, const AttentionArgs& a, const AttentionProblem& p,
                      int tile_rows, const Launch& launch) {
  const std::int64_t tasks = std::int64_t{p.B} * p.Hkv * ceil_div(p.rows, tile_rows);
  const KeySplits splits = splits_of(stream, p, tasks);
  AttentionOutput<T> result{.out = data_of<T>(a.out), .lse = data_of<float>(a.lse)};
  if (splits.count == 1) {
    launch(result, splits, tasks);
    return;
  }
  const std::int64_t rows = std::int64_t{p.B} * p.T * p.H;
  const std::int64_t partial_rows = rows * splits.count;
  const Scratch partial(stream,
                        static_cast<std::size_t>(partial_rows * (p.Dh + 1)) * sizeof(float));
  result.partial_out = partial.as<float>();
  result.partial_lse = result.partial_out + partial_rows * p.Dh;
  launch(result, splits, tasks);
  const auto merge = [&](auto kernel) {
    const MemoryRange written[] = {range_of(a.out), range_of(a.lse)};
    launch_overlapping(stream, kernel, static_cast<unsigned>(ceil_div(rows, kMergeRows)),
                       kMergeRows * kWarp, 0, {.written = written}, p, result, splits.count);
  };
  constexpr int kPack = 4;
  if (p.Dh % kPack == 0 && is_aligned(a.out.data, 16)) {
    merge(merge_splits<kPack, T>);
  } else {
    merge(merge_splits<1, T>);
  }
}

template <class T, int kColumnTiles>
void scalar_forward(Stream& stream, const AttentionArgs& a, const AttentionProblem& p) {
  forward_in_tiles<T>(
      stream, a, p, kAttentionTile,
      [&](const AttentionOutput<T>& result, const KeySplits& splits, std::int64_t tasks) {
        const dim3 grid(static_cast<unsigned>(tasks * splits.count),
                        static_cast<unsigned>(ceil_div(p.Dh, 256)));
        launch_overlapping(stream, scalar_forward_kernel<T, kColumnTiles>, grid, kScalarThreads, 0,
                           {.written = written_by(a, p, result, splits)}, p, HeadRows<const T>(a.q),
                           HeadRows<const T>(a.k), HeadRows<const T>(a.v), result, splits);
      });
}

template <class T, class Shape>
void tensor_forward(Stream& stream, const AttentionArgs& a, const AttentionProblem& p) {
  forward_in_tiles<T>(
      stream, a, p, Shape::kRows,
      [&](const AttentionOutput<T>& result, const KeySplits& splits, std::int64_t tasks) {
        launch_tensor_forward<T, Shape>(stream, a, p, result, splits, tasks);
      });
}

// Tiles of 16 rows where there are no more than two of them: tokens that are decoded one by one.
template <class T, int kDim, int kM, int kKeys>
void tensor_forward(Stream& stream, const AttentionArgs& a, const AttentionProblem& p) {
  if (p.rows <= 32) {
    tensor_forward<T, TensorShape<kDim, 1, 1, 64>>(stream, a, p);
  } else {
    tensor_forward<T, TensorShape<kDim, kTensorWarps, kM, kKeys>>(stream, a, p);
  }
}

bool suits_tensor_cores(const AttentionArgs& a) {
  return a.q.dim(3) <= 256 && copies_in_chunks(a.q) && copies_in_chunks(a.k) &&
         copies_in_chunks(a.v) && is_aligned(a.out.data, 16);
}

template <class T>
void plain_forward(Stream& stream, const AttentionArgs& a) {
  const AttentionProblem p(a.q, a.k, a.mask, a.scale);
  if constexpr (sizeof(T) == 2) {
    if (suits_tensor_cores(a)) {
      if (p.Dh <= 64) return tensor_forward<T, 64, 2, 64>(stream, a, p);
      if (p.Dh <= 128) return tensor_forward<T, 128, 2, 32>(stream, a, p);
      return tensor_forward<T, 256, 1, 64>(stream, a, p);
    }
  }
  if (p.Dh <= 64) return scalar_forward<T, 1>(stream, a, p);
  if (p.Dh <= 128) return scalar_forward<T, 2>(stream, a, p);
  scalar_forward<T, 4>(stream, a, p);
}

// Our own kernels: every call.
KernelStatus plain_attention(Stream& stream, const AttentionArgs& a) {
  if (a.out.numel() == 0) return KernelStatus::ok();
  if (!fits_attention_problem(a.q, a.k))
    return KernelStatus::unsupported("more than 2^30 rows or keys");
  switch_floating(a.q.dtype, [&]<class T>(std::type_identity<T>) { plain_forward<T>(stream, a); });
  return KernelStatus::ok();
}

KernelStatus cudnn_attention(Stream& stream, const AttentionArgs& a) {
  return backend_of_stream(stream).cudnn_attention().forward(stream, a);
}

}  // namespace

KernelStatus attention(Stream& stream, const AttentionArgs& a) {
  static constexpr Variant<AttentionArgs> kVariants[] = {{"cudnn", cudnn_attention},
                                                         {"plain", plain_attention}};
  return run_variants<AttentionArgs>("attention", kVariants, stream, a);
}

}  // namespace wick::cuda
