#pragma once

#include "backends/cuda/kernels/attention_tensor_dq.cuh"

namespace wick::cuda {

/// Where dk and dv go, each may be null: results of T, or with several splits f32 sums of each split,
/// [splits, B·S·Hkv, Dh].
template <class T>
struct KeyGradients {
  T* dk;
  T* dv;
  float* partial_dk = nullptr;
  float* partial_dv = nullptr;
  int splits = 1;
};

/// A tile of rows in shared memory: what masks need, and lse and delta.
struct RowTile {
  RowItems items;
  TileStatistics statistics;
};

/// The tiles of rows that a block visits: every splits-th one, so that splits have equal work.
template <int kRows>
struct RowTiles {
  const AttentionProblem& p;
  const RowStatistics& statistics;
  int b, hkv;
  int end;
  int step;           // rows from one tile to the next
  RowTile* tiles;     // [2]
  SegmentRange keys;  // segments of the keys
  bool whole_keys;    // none of them is hidden
  int current = 0;
  bool whole = true;  // every row exists and sees every key, as far as segments and key_mask say
  bool next_whole = true;

  /// The first tile from `first` on that may see some key; its items lie in the other of the two, once
  /// enqueued copies are complete.
  __device__ __forceinline__ int find(int first) {
    RowTile& other = tiles[1 - current];
    for (; first < end; first += step) {
      bool useful = false;
      bool here = true;
      const int i = static_cast<int>(threadIdx.x);
      if (i < kRows) {
        fill_row_item(p, b, first, i, other.items);
        const int segment = other.items.segment[i];
        useful = other.items.begin[i] < other.items.end[i] &&
                 (p.segments == nullptr || keys.contains(segment));
        here = other.items.time[i] >= 0 && whole_keys &&
               (p.segments == nullptr || (keys.least == keys.most && segment == keys.least));
      }
      if (__syncthreads_or(useful) == 0) continue;
      next_whole = __syncthreads_and(here) != 0;
      break;
    }
    return first;
  }
  __device__ __forceinline__ void advance() {
    current = 1 - current;
    whole = next_whole;
  }
  /// Enqueues the copy of the other tile's lse and delta.
  __device__ __forceinline__ void copy_statistics(int first) {
    RowTile& other = tiles[1 - current];
    const int i = static_cast<int>(threadIdx.x) % kRows;
    const bool exists = first + i < p.rows;
    const std::int64_t at = exists ? p.head_token(b, hkv, first + i) : 0;
    const int bytes = exists ? 4 : 0;  // 0 writes zeros: masks hide the row
    const bool lse = static_cast<int>(threadIdx.x) < kRows;
    if (threadIdx.x >= 2 * kRows) return;
    const unsigned to = shared_address(lse ? &other.statistics.lse[i] : &other.statistics.delta[i]);
    const float* const from = (lse ? statistics.lse : statistics.delta) + at;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes));
  }
};

/// What a thread knows of its two keys.
struct KeyMask {
  int place;
  int segment;
};

/// As row_score_gradients, for sums whose rows are keys and whose columns are rows of queries.
template <int kN>
__device__ __forceinline__ void key_score_gradients(const AttentionProblem& p,
                                                    const KeyMask (&keys)[2], const RowTile& rows,
                                                    bool whole, float (&scores)[1][kN][4],
                                                    float (&gradients)[1][kN][4]) {
  const float factor = p.scale * kLog2E;
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int r = 8 * n + static_cast<int>(threadIdx.x) % 4 * 2 + e;
      const float lse = rows.statistics.lse[r] * kLog2E;
      const float delta = rows.statistics.delta[r];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const KeyMask& key = keys[h];
        const bool seen =
            whole || (key.place >= rows.items.begin[r] && key.place < rows.items.end[r] &&
                      key.segment == rows.items.segment[r]);
        float& score = scores[0][n][2 * h + e];
        float& gradient = gradients[0][n][2 * h + e];
        score = seen ? exp2f(fmaf(score, factor, -lse)) : 0.0F;
        gradient = seen ? score * (gradient - delta) : 0.0F;
      }
    }
  }
}

/// Writes factor · sums of 64 keys.
template <class T, int kD>
__device__ void store_key_sums(const AttentionProblem& p, int b, int hkv, int first_key, int split,
                               const float (&sums)[1][kD][4], float factor, T* to, float* partial) {
  if (to == nullptr) return;
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int j = first_key + 8 * h + lane / 4;
    if (j >= p.S) continue;
    const std::int64_t row = (static_cast<std::int64_t>(b) * p.S + j) * p.Hkv + hkv;
    const std::int64_t split_rows = split * static_cast<std::int64_t>(p.B) * p.S * p.Hkv;
#pragma unroll
    for (int d = 0; d < kD; ++d) {
      const int column = 8 * d + lane % 4 * 2;
      if (column >= p.Dh) break;
      const float pair[2] = {sums[0][d][2 * h] * factor, sums[0][d][2 * h + 1] * factor};
      if (partial != nullptr) {
        store_pack<2>(partial + (split_rows + row) * p.Dh + column, pair);
      } else {
        store_pack<2>(to + row * p.Dh + column, pair);
      }
    }
  }
}

/// dk and dv of Shape::kOwn keys of a key head, from the rows of one split.
template <class T, class Shape>
__global__ void __launch_bounds__(kTensorThreads)
    tensor_dkv_kernel(const __grid_constant__ AttentionProblem p,
                      const __grid_constant__ BackwardOperands<T> x,
                      const __grid_constant__ KeyGradients<T> result) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ KeyItems key_items;
  __shared__ RowTile row_tiles[2];
  constexpr int kDim = Shape::kDim;
  constexpr int kRows = Shape::kOther;
  static_assert(Shape::kM == 1 && Shape::kOwn == kAttentionTile);
  const SharedTile<kDim> keys{shared_address(memory)};
  const SharedTile<kDim> values{keys.base + Shape::kOwn * kDim * 2};
  const unsigned tile_memory = values.base + Shape::kOwn * kDim * 2;
  // Early keys have the most rows under a causal mask: they come first, so that blocks end together.
  unsigned task = blockIdx.x;
  const int split = static_cast<int>(task % result.splits);
  task /= result.splits;
  const int hkv = static_cast<int>(task % p.Hkv);
  task /= p.Hkv;
  const int b = static_cast<int>(task % p.B);
  const int first_key = static_cast<int>(task / p.B) * Shape::kOwn;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int warp_key = thread / kWarp * 16;

  if (thread < kAttentionTile) fill_key_item(p, b, first_key, thread, p.S, key_items);
  const bool whole_keys =
      __syncthreads_and(thread >= kAttentionTile || key_items.place[thread] >= 0) != 0;
  const auto copy_own = [&](const SharedTile<kDim>& to, const HeadRows<const T>& from) {
    const KeysOfTile<T> source(from, b, hkv, key_items);
    copy_rows<kDim, Shape::kOwn>(to, p.Dh, from.data, [&](int i) { return source.at(i); });
  };
  copy_own(keys, x.k);
  copy_own(values, x.v);
  KeyMask own[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int i = warp_key + 8 * h + lane / 4;
    own[h] = {key_items.place[i], key_items.segment[i]};
  }
  const int last_key = min(first_key + Shape::kOwn, p.S) - 1;
  const Interval range = p.rows_of_keys(first_key, last_key + 1 - first_key);
  // The rows that may look at every key of the block by order and window.
  const Interval common{p.times_of_key(last_key).begin * p.group,
                        p.times_of_key(first_key).end * p.group};
  RowTiles<kRows> tiles{p,         x.statistics, b,         hkv, range.end, kRows * result.splits,
                        row_tiles, {},           whole_keys};
  if (p.segments != nullptr) tiles.keys = segments_of(key_items);
  const auto copy_pair = [&](int first) {
    const unsigned base = tile_memory + (1 - tiles.current) * 2 * Shape::kTileBytes;
    const RowItems& items = row_tiles[1 - tiles.current].items;
    const RowsOfTile<T> q_rows(p, x.q, b, hkv, items);
    const RowsOfTile<T> dout_rows(p, x.dout, b, hkv, items);
    copy_rows<kDim, kRows>(SharedTile<kDim>{base}, p.Dh, x.q.data,
                           [&](int i) { return q_rows.at(i); });
    copy_rows<kDim, kRows>(SharedTile<kDim>{base + Shape::kTileBytes}, p.Dh, x.dout.data,
                           [&](int i) { return dout_rows.at(i); });
    tiles.copy_statistics(first);
    commit_copies();
  };

  float dk[1][kDim / 8][4] = {};
  float dv[1][kDim / 8][4] = {};
  int first = tiles.find(range.begin / kRows * kRows + split * kRows);
  if (first < range.end) copy_pair(first);
  tiles.advance();
  while (first < range.end) {
    wait_for_copies<0>();
    __syncthreads();  // this tile is there; the last one is used no more
    const int next = tiles.find(first + tiles.step);
    if (next < range.end) copy_pair(next);
    const SharedTile<kDim> queries{tile_memory + tiles.current * 2 * Shape::kTileBytes};
    const SharedTile<kDim> douts{queries.base + Shape::kTileBytes};
    const bool whole = tiles.whole && common.begin <= first && first + kRows <= common.end;
    float scores[1][Shape::kN][4] = {};
    float gradients[1][Shape::kN][4] = {};
    add_row_products<T>(keys, warp_key, queries, 0, scores);
    add_row_products<T>(values, warp_key, douts, 0, gradients);
    key_score_gradients(p, own, row_tiles[tiles.current], whole, scores, gradients);
    if (result.dv != nullptr) add_weighted_rows<T>(scores, douts, 0, dv);
    if (result.dk != nullptr) add_weighted_rows<T>(gradients, queries, 0, dk);
    tiles.advance();
    first = next;
  }
  wait_for_copies<0>();
  store_key_sums(p, b, hkv, first_key + warp_key, split, dk, p.scale, result.dk, result.partial_dk);
  store_key_sums(p, b, hkv, first_key + warp_key, split, dv, 1.0F, result.dv, result.partial_dv);
}

/// to = Σ over splits, in their order.
template <class T>
__global__ void sum_splits(const float* partial, int splits, std::int64_t count, T* to) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
  if (i >= count) return;
  float sum[4] = {};
  for (int s = 0; s < splits; ++s) {
    float part[4];
    load_pack<4>(partial + s * count + i, part);
#pragma unroll
    for (int e = 0; e < 4; ++e) sum[e] += part[e];
  }
  store_pack<4>(to + i, sum);
}

}  // namespace wick::cuda
