#pragma once

#include "backends/cuda/kernels/attention_scalar_backward.cuh"
#include "backends/cuda/kernels/attention_tensor_masks.cuh"

namespace wick::cuda {

/// How a block of the backward kernels is cut: the rows (or keys) that it owns, and a tile of the other side.
/// kM 16 rows for each of four warps.
template <int kDimension, int kRowTiles, int kOtherTile>
struct BackwardShape {
  static constexpr int kDim = kDimension;
  static constexpr int kM = kRowTiles;
  static constexpr int kOwn = 16 * kM * kTensorWarps;
  static constexpr int kOther = kOtherTile;
  static constexpr int kN = kOther / 8;
  static constexpr int kTileBytes = kOther * kDim * 2;
  /// Two operands of its own, and twice two tiles: the next ones are copied meanwhile.
  static constexpr std::size_t kSharedBytes =
      static_cast<std::size_t>(2 * kOwn + 4 * kOther) * kDim * 2;
};

/// Scores become probabilities, their gradients those of the scores (without the scale).
template <int kKeys, int kM, int kN>
__device__ __forceinline__ void row_score_gradients(
    const AttentionProblem& p, const RowMask (&rows)[kM][2], const float (&lse)[kM][2],
    const float (&delta)[kM][2], const KeyTiles<kKeys>& keys, int first, bool whole,
    float (&scores)[kM][kN][4], float (&gradients)[kM][kN][4]) {
  const float factor = p.scale * kLog2E;
#pragma unroll
  for (int n = 0; n < kN; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int j = 8 * n + static_cast<int>(threadIdx.x) % 4 * 2 + e;
      int place = first + j;
      int segment = 0;
      if (!whole && keys.masked_items) {
        place = keys.items[keys.current].place[j];
        segment = keys.items[keys.current].segment[j];
      }
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const RowMask& row = rows[m][h];
          const bool seen =
              whole || (place >= row.begin && place < row.end && segment == row.segment);
          const float score = scores[m][n][2 * h + e];
          const float probability = seen ? exp2f(fmaf(score, factor, -lse[m][h])) : 0.0F;
          float& gradient = gradients[m][n][2 * h + e];
          gradient = seen ? probability * (gradient - delta[m][h]) : 0.0F;
        }
      }
    }
  }
}

/// dq of Shape::kOwn rows of a key head.
template <class T, class Shape>
__global__ void __launch_bounds__(kTensorThreads)
    tensor_dq_kernel(const __grid_constant__ AttentionProblem p,
                     const __grid_constant__ BackwardOperands<T> x, T* dq) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ KeyItems items[2];
  constexpr int kDim = Shape::kDim;
  constexpr int kKeys = Shape::kOther;
  const SharedTile<kDim> queries{shared_address(memory)};
  const SharedTile<kDim> douts{queries.base + Shape::kOwn * kDim * 2};
  const unsigned tile_memory = douts.base + Shape::kOwn * kDim * 2;
  const int row_tiles = (p.rows + Shape::kOwn - 1) / Shape::kOwn;
  const int hkv = static_cast<int>(blockIdx.x) % p.Hkv;
  const int b = static_cast<int>(blockIdx.x) / p.Hkv % p.B;
  const int first_row = (row_tiles - 1 - static_cast<int>(blockIdx.x) / p.Hkv / p.B) * Shape::kOwn;
  const int lane = threadIdx.x % kWarp;
  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * 16 * Shape::kM;

  const auto copy_own = [&](const SharedTile<kDim>& to, const HeadRows<const T>& from) {
    copy_rows<kDim, Shape::kOwn>(to, p.Dh, from.data, [&](int i) {
      const int r = first_row + i;
      const T* const head = from.data + b * from.batch +
                            (static_cast<std::int64_t>(hkv) * p.group + r % p.group) * from.head;
      return r < p.rows ? head + r / p.group * from.token : nullptr;
    });
  };
  copy_own(queries, x.q);
  copy_own(douts, x.dout);
  RowMask rows[Shape::kM][2];
  float lse[Shape::kM][2];
  float delta[Shape::kM][2];
#pragma unroll
  for (int m = 0; m < Shape::kM; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = first_row + warp_row + 16 * m + 8 * h + lane / 4;
      rows[m][h] = mask_of_row(p, b, r);
      const std::int64_t at = r < p.rows ? p.head_token(b, hkv, r) : 0;
      lse[m][h] = r < p.rows ? x.statistics.lse[at] * kLog2E : INFINITY;
      delta[m][h] = r < p.rows ? x.statistics.delta[at] : 0.0F;
    }
  }
  const int last_row = min(first_row + Shape::kOwn, p.rows) - 1;
  const Interval range = p.keys_of_rows(first_row, last_row + 1 - first_row);
  // The keys that every row of the block may look at by order and window.
  const Interval common{p.keys_of_query(p.first_position + last_row / p.group).begin,
                        p.keys_of_query(p.first_position + first_row / p.group).end};
  KeyTiles<kKeys> tiles{p, b, range.end, p.has_items(), items, {}};
  if (p.segments != nullptr) tiles.seen = segments_of_block(rows);
  const auto copy_tile = [&](unsigned base, const HeadRows<const T>& from, int first,
                             const KeyItems& tile_items) {
    const T* const head = from.data + b * from.batch + hkv * from.head;
    copy_rows<kDim, kKeys>(SharedTile<kDim>{base}, p.Dh, from.data, [&](int i) {
      const bool exists = tiles.masked_items ? tile_items.place[i] >= 0 : first + i < range.end;
      return exists ? head + (first + i) * from.token : nullptr;
    });
  };
  const auto copy_pair = [&](int buffer, int first, const KeyItems& tile_items) {
    const unsigned base = tile_memory + buffer * 2 * Shape::kTileBytes;
    copy_tile(base, x.k, first, tile_items);
    copy_tile(base + Shape::kTileBytes, x.v, first, tile_items);
    commit_copies();
  };

  float sums[Shape::kM][kDim / 8][4] = {};
  int first = tiles.find(range.begin / kKeys * kKeys);
  tiles.advance();
  if (first < range.end) copy_pair(tiles.current, first, items[tiles.current]);
  while (first < range.end) {
    wait_for_copies<0>();
    __syncthreads();  // this tile is there; the last one is used no more
    const int next = tiles.find(first + kKeys);
    if (next < range.end) copy_pair(1 - tiles.current, next, items[1 - tiles.current]);
    const SharedTile<kDim> keys{tile_memory + tiles.current * 2 * Shape::kTileBytes};
    const SharedTile<kDim> values{keys.base + Shape::kTileBytes};
    const bool whole = tiles.whole && common.begin <= first && first + kKeys <= common.end;
    float scores[Shape::kM][Shape::kN][4] = {};
    float gradients[Shape::kM][Shape::kN][4] = {};
    add_row_products<T>(queries, warp_row, keys, 0, scores);
    add_row_products<T>(douts, warp_row, values, 0, gradients);
    row_score_gradients(p, rows, lse, delta, tiles, first, whole, scores, gradients);
    add_weighted_rows<T>(gradients, keys, 0, sums);
    tiles.advance();
    first = next;
  }
  wait_for_copies<0>();
#pragma unroll
  for (int m = 0; m < Shape::kM; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = first_row + warp_row + 16 * m + 8 * h + lane / 4;
      if (r >= p.rows) continue;
      T* const row = dq + p.token_head(b, hkv, r) * p.Dh;
#pragma unroll
      for (int d = 0; d < kDim / 8; ++d) {
        const int column = 8 * d + lane % 4 * 2;
        const float pair[2] = {sums[m][d][2 * h] * p.scale, sums[m][d][2 * h + 1] * p.scale};
        if (column < p.Dh) store_pack<2>(row + column, pair);
      }
    }
  }
}

}  // namespace wick::cuda
