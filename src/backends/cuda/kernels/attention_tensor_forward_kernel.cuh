#pragma once

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/kernels/attention_tensor_forward.cuh"

namespace wick::cuda {

/// Writes what a task found for one row: its lse once, and a pair of neighbouring elements at a time.
template <class T>
struct RowWriter {
  const AttentionOutput<T>& result;
  int Dh;
  std::int64_t row;      // of [B,T,H], with splits of [splits,B,T,H]
  std::int64_t lse_row;  // of [B,H,T], with splits as row
  bool split;

  __device__ RowWriter(const AttentionProblem& p, const ForwardTask& task, const KeySplits& splits,
                       const AttentionOutput<T>& to, int r)
      : result(to), Dh(p.Dh), row(p.token_head(task.b, task.hkv, r)), split(splits.count > 1) {
    if (split) row += task.split * (static_cast<std::int64_t>(p.B) * p.T * p.H);
    lse_row = split ? row : p.head_token(task.b, task.hkv, r);
  }
  /// `most` and `total` are in base 2.
  __device__ void write_lse(float most, float total) const {
    float* const to = split ? result.partial_lse : result.lse;
    if (to != nullptr) to[lse_row] = total == 0 ? -INFINITY : (most + log2f(total)) * kLn2;
  }
  __device__ void write(int column, float first, float second) const {
    if (column >= Dh) return;
    if (split) {
      const float pair[2] = {first, second};
      store_pack<2>(result.partial_out + row * Dh + column, pair);
    } else {
      const float pair[2] = {first, second};
      store_pack<2>(result.out + row * Dh + column, pair);
    }
  }
};

/// Each warp owns its rows.
template <class T, class Shape>
__device__ void store_rows(const AttentionProblem& p, const ForwardTask& task,
                           const KeySplits& splits, const TensorSoftmax<Shape::kM>& softmax,
                           int first_row, const float (&sums)[Shape::kM][Shape::kDim / 8][4],
                           const AttentionOutput<T>& result) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int m = 0; m < Shape::kM; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float total = quad_reduce<Sum>(softmax.total[m][h]);
      const int r = first_row + 16 * m + 8 * h + lane / 4;
      if (r >= p.rows) continue;
      const RowWriter<T> writer(p, task, splits, result, r);
      if (lane % 4 == 0) writer.write_lse(softmax.most[m][h], total);
      const float inverse = total == 0 ? 0.0F : 1.0F / total;
#pragma unroll
      for (int d = 0; d < Shape::kDim / 8; ++d) {
        writer.write(8 * d + lane % 4 * 2, sums[m][d][2 * h] * inverse,
                     sums[m][d][2 * h + 1] * inverse);
      }
    }
  }
}

/// All warps have the same 16 rows and saw different keys: adds up what they found.
template <class T, class Shape>
__device__ void store_merged(const AttentionProblem& p, const ForwardTask& task,
                             const KeySplits& splits, const TensorSoftmax<1>& softmax,
                             const float (&sums)[1][Shape::kDim / 8][4],
                             const AttentionOutput<T>& result, float* memory) {
  __shared__ float most[kTensorWarps][16];
  __shared__ float totals[kTensorWarps][16];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  __syncthreads();  // the tiles are used no more
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = 8 * h + lane / 4;
    const float total = quad_reduce<Sum>(softmax.total[0][h]);
    if (lane % 4 == 0) {
      most[warp][row] = softmax.most[0][h];
      totals[warp][row] = total;
    }
#pragma unroll
    for (int d = 0; d < Shape::kDim / 8; ++d) {
      const float pair[2] = {sums[0][d][2 * h], sums[0][d][2 * h + 1]};
      store_pack<2>(memory + (warp * 16 + row) * Shape::kDim + 8 * d + lane % 4 * 2, pair);
    }
  }
  __syncthreads();
  for (int row = warp; row < 16; row += kTensorWarps) {
    const int r = task.first_row + row;
    if (r >= p.rows) break;
    float largest = -INFINITY;
    for (int w = 0; w < kTensorWarps; ++w) largest = fmaxf(largest, most[w][row]);
    const float shift = largest == -INFINITY ? 0.0F : largest;
    float weights[kTensorWarps];
    float total = 0;
#pragma unroll
    for (int w = 0; w < kTensorWarps; ++w) {
      weights[w] = exp2f(most[w][row] - shift);
      total = fmaf(weights[w], totals[w][row], total);
    }
    const float inverse = total == 0 ? 0.0F : 1.0F / total;
    const RowWriter<T> writer(p, task, splits, result, r);
    if (lane == 0) writer.write_lse(largest, total);
    for (int column = 2 * lane; column < Shape::kDim; column += 2 * kWarp) {
      float sum[2] = {0, 0};
#pragma unroll
      for (int w = 0; w < kTensorWarps; ++w) {
        if (weights[w] == 0) continue;
        float pair[2];
        load_pack<2>(memory + (w * 16 + row) * Shape::kDim + column, pair);
        sum[0] = fmaf(weights[w], pair[0], sum[0]);
        sum[1] = fmaf(weights[w], pair[1], sum[1]);
      }
      writer.write(column, sum[0] * inverse, sum[1] * inverse);
    }
  }
}

/// Brings the first of a block's keys or values nearer.
template <class T, int kKeys>
__device__ __forceinline__ void prefetch_keys(const AttentionProblem& p, const ForwardTask& task,
                                              const Interval& range,
                                              const HeadRows<const T>& rows) {
  constexpr int kLine = 128 / static_cast<int>(sizeof(T));
  const int lines = (p.Dh + kLine - 1) / kLine;
  const T* const head = rows.data + task.b * rows.batch + task.hkv * rows.head;
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * lines; i += kTensorThreads) {
    const auto key = range.begin + i / lines;
    if (key < range.end) hopper::prefetch(head + key * rows.token + i % lines * kLine);
  }
}

/// One block: Shape::kRows rows of a key head over the keys of one split.
template <class T, class Shape>
__global__ void __launch_bounds__(kTensorThreads)
    tensor_forward_kernel(const __grid_constant__ AttentionProblem p, const HeadRows<const T> q,
                          const HeadRows<const T> k, const HeadRows<const T> v,
                          const AttentionOutput<T> result, const KeySplits splits) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ KeyItems items[2];
  __shared__ unsigned odd[2];
  hopper::let_next_begin();
  constexpr int kDim = Shape::kDim;
  const SharedTile<kDim> keys{shared_address(memory)};
  const SharedTile<kDim> values{keys.base + Shape::kKeys * kDim * 2};
  const SharedTile<kDim> queries{values.base + Shape::kKeys * kDim * 2};
  const ForwardTask task(p, splits, Shape::kRows);
  const Interval range = task.keys(p, splits, Shape::kRows);
  prefetch_keys<T, Shape::kKeys>(p, task, range, k);
  prefetch_keys<T, Shape::kKeys>(p, task, range, v);
  hopper::wait_for_previous();
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int warp_row = warp % Shape::kRowWarps * 16 * Shape::kM;
  const int warp_key = warp / Shape::kRowWarps * Shape::kKeysEach;

  copy_rows<kDim, Shape::kRows>(queries, p.Dh, q.data, [&](int i) {
    const int r = task.first_row + i;
    const T* const head = q.data + task.b * q.batch +
                          (static_cast<std::int64_t>(task.hkv) * p.group + r % p.group) * q.head;
    return r < p.rows ? head + r / p.group * q.token : nullptr;
  });
  RowMask rows[Shape::kM][2];
#pragma unroll
  for (int m = 0; m < Shape::kM; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      rows[m][h] = mask_of_row(p, task.b, task.first_row + warp_row + 16 * m + 8 * h + lane / 4);
    }
  }
  const int last_row = min(task.first_row + Shape::kRows, p.rows) - 1;
  // The keys that every row of the block may look at by order and window.
  const Interval common{p.keys_of_query(p.first_position + last_row / p.group).begin,
                        p.keys_of_query(p.first_position + task.first_row / p.group).end};
  KeyTiles<Shape::kKeys> tiles{p, task.b, range.end, p.has_items(), items, {}};
  if (p.segments != nullptr) tiles.seen = segments_of_block(rows);
  const auto copy_tile = [&](const SharedTile<kDim>& to, const HeadRows<const T>& from, int first,
                             const KeyItems& tile_items) {
    const T* const head = from.data + task.b * from.batch + task.hkv * from.head;
    copy_rows<kDim, Shape::kKeys>(to, p.Dh, from.data, [&](int i) {
      const bool exists = tiles.masked_items ? tile_items.place[i] >= 0 : first + i < range.end;
      return exists ? head + (first + i) * from.token : nullptr;
    });
    commit_copies();
  };

  TensorSoftmax<Shape::kM> softmax;
  float sums[Shape::kM][kDim / 8][4] = {};
  int first = tiles.find(range.begin);
  tiles.advance();
  if (first < range.end) {
    copy_tile(keys, k, first, items[tiles.current]);
    copy_tile(values, v, first, items[tiles.current]);
  }
  // Those of later tiles take the place of values that are in use until the keys are there.
  bool values_come = true;
  while (first < range.end) {
    const bool whole = tiles.whole && common.begin <= first && first + Shape::kKeys <= common.end;
    if (threadIdx.x < 2) odd[threadIdx.x] = 0;
    if (values_come) {
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();  // the keys are there; the last tile's values are used no more
    if (!values_come) copy_tile(values, v, first, items[tiles.current]);
    values_come = false;
    float scores[Shape::kM][Shape::kN][4] = {};
    add_row_products<T>(queries, warp_row, keys, warp_key, scores);
    mask_scores(rows, tiles, first, warp_key, whole, p.scale * kLog2E, scores);
    const int next = tiles.find(first + Shape::kKeys);
    softmax.add(scores, sums);
    wait_for_copies<0>();
    __syncthreads();  // the values are there; the keys are used no more
    if (next < range.end) copy_tile(keys, k, next, items[1 - tiles.current]);
    if (!whole && take_out_odd_values<T, Shape::kKeys>(values, odd)) {
      for (int j = 0; j < Shape::kKeysEach; ++j) {
        const int key = warp_key + j;
        if ((odd[key / 32] >> key % 32 & 1U) == 0) continue;
        add_odd_value(scores, j,
                      v.data + task.b * v.batch + task.hkv * v.head + (first + key) * v.token, p.Dh,
                      sums);
      }
    }
    add_weighted_rows<T>(scores, values, warp_key, sums);
    tiles.advance();
    first = next;
  }
  wait_for_copies<0>();
  if constexpr (Shape::kKeyWarps == 1) {
    store_rows<T, Shape>(p, task, splits, softmax, task.first_row + warp_row, sums, result);
  } else {
    // SAFETY: shared memory of the tiles, aligned for any type, holds the floats of four warps.
    store_merged<T, Shape>(p, task, splits, softmax, sums, result,
                           reinterpret_cast<float*>(memory));
  }
}

/// Enqueues it with as much shared memory as it asks for.
template <class T, class Shape>
void launch_tensor_forward(Stream& stream, const AttentionArgs& a, const AttentionProblem& p,
                           const AttentionOutput<T>& result, const KeySplits& splits,
                           std::int64_t tasks) {
  const auto kernel = tensor_forward_kernel<T, Shape>;
  backend_of_stream(stream).make_current();  // the attribute belongs to the current device
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(Shape::kSharedBytes)),
        "cudaFuncSetAttribute");
  launch_overlapping(stream, kernel, static_cast<unsigned>(tasks * splits.count), kTensorThreads,
                     Shape::kSharedBytes, {.written = written_by(a, p, result, splits)}, p,
                     HeadRows<const T>(a.q), HeadRows<const T>(a.k), HeadRows<const T>(a.v), result,
                     splits);
}

}  // namespace wick::cuda
