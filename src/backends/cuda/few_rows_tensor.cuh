#pragma once

#include <algorithm>
#include <array>

#include "backends/cuda/few_rows_group.cuh"

// Two to eight rows by weights of 16 bits, on the tensor cores: out [M,N] = x w^T, as 16 rows of w times 8 rows of x. One row
// takes no longer than eight. Fragments need no order of K but the same one in both operands: a lane takes the 16 bytes that it
// has copied of a row of w, and those of x beside them, for two steps of the product.

namespace wick::cuda {

inline constexpr int kTensorRows = 16;  ///< of w
inline constexpr int kTensorMostM = 8;
inline constexpr int kTensorQuad = 4;  ///< lanes that share a row

/// Packs of a row of x that a lane keeps in registers.
inline constexpr std::array kTensorPackCounts{1, 2, 4, 8, 16, 24, 36};

template <int kPacksOfRow, bool kLarge>
struct TensorCut {
  static constexpr int kThreads = kFewRowsThreads;
  static constexpr int kPacks = kPacksOfRow;
  static constexpr int kBlocks = kPacks <= 8 ? 2 : 1;     ///< of a multiprocessor
  static constexpr int kStepPacks = std::min(kPacks, 2);  ///< of each of two rows
  static constexpr int kStepBytes = kFewRowsThreads * kStepPacks * 2 * 16;
  static constexpr int kRingBytes = (kLarge ? 192 : 64) * 1024;
  static constexpr int kSteps = std::max(3, kRingBytes / kBlocks / kStepBytes);
  static constexpr int kSharedBytes = kSteps * kStepBytes;
  static constexpr int kOnTheirWay = kSteps;
  /// On their way while the kernel before still runs: as much as memory needs to be busy.
  static constexpr int kFirstSteps = std::max(1, 32768 / (kBlocks * kStepBytes));
};

/// The packs of w that a lane needs, of two rows of a tile, tile after tile.
template <class T, class Cut>
class TileWeights {
 public:
  /// Tiles first, first + tile_step, …; of each row every `width`-th pack from `begin` on.
  __device__ TileWeights(const FewRowsGroup& group, std::int64_t first, int tile_step, int begin,
                         int width, int steps_of_tile)
      : group_(group),
        tile_(first),
        tile_step_(tile_step),
        begin_(begin),
        width_(width),
        steps_of_tile_(steps_of_tile),
        packs_(static_cast<int>(group.products[0].K / kChunk)) {
    seek();
  }

  /// Starts to copy the next step to a slot, if there is one: pack u of row h to its place h · kStepPacks + u. What a row does
  /// not have is 0.
  __device__ __forceinline__ void copy(unsigned slot) {
    if (tile_ * kTensorRows >= group_.rows) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int u = 0; u < Cut::kStepPacks; ++u) {
        const int pack = begin_ + (step_ * Cut::kStepPacks + u) * width_;
        const bool exists = pack < packs_;
        if (w_[h] == nullptr) continue;  // a row of no result
        copy_async(slot + (h * Cut::kStepPacks + u) * kFewRowsThreads * 16,
                   w_[h] + (exists ? pack * kChunk : 0), exists);
      }
    }
    if (++step_ < steps_of_tile_) return;
    tile_ += tile_step_;
    seek();
  }

 private:
  __device__ __forceinline__ void seek() {
    step_ = 0;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const std::int64_t row = tile_ * kTensorRows + 8 * h + threadIdx.x % kWarp / kTensorQuad;
      w_[h] = nullptr;
      if (row >= group_.rows) continue;
      const FewRowsRow at(group_, row);
      const FewRows& product = group_.products[at.product];
      w_[h] = static_cast<const T*>(product.w) + at.n * product.K;
    }
  }

  const FewRowsGroup& group_;
  const T* w_[2];
  std::int64_t tile_;
  int tile_step_;
  int begin_, width_;
  int steps_of_tile_;
  int packs_;
  int step_ = 0;
};

template <class T, class Cut>
using TileSteps = StepRing<TileWeights<T, Cut>, Cut>;

/// Sums of a warp: of 8 rows of x with the 16 of a tile.
using TensorSums = float[kTensorMostM][kTensorRows];

/// A warp's sums of a tile with x.
template <class T, class Cut>
__device__ __forceinline__ void multiply_tile(const uint4 (&x)[Cut::kPacks], int steps_of_tile,
                                              TileSteps<T, Cut>& steps, TensorSums& to) {
  float sums[2][4] = {};  // chains that need not wait for one another
#pragma unroll
  for (int first = 0; first < Cut::kPacks; first += Cut::kStepPacks) {
    if (first / Cut::kStepPacks >= steps_of_tile) break;
    const uint4* const slot = steps.take();
#pragma unroll
    for (int u = 0; u < Cut::kStepPacks; ++u) {
      if (first + u >= Cut::kPacks) continue;
      const uint4 upper = slot[u * kFewRowsThreads];
      const uint4 lower = slot[(Cut::kStepPacks + u) * kFewRowsThreads];
      const uint4& own = x[first + u];
      mma<T>(sums[0], {upper.x, lower.x, upper.y, lower.y}, own.x, own.y);
      mma<T>(sums[1], {upper.z, lower.z, upper.w, lower.w}, own.z, own.w);
    }
  }
  const int row = static_cast<int>(threadIdx.x) % kWarp / kTensorQuad;
  const int m = static_cast<int>(threadIdx.x) % kTensorQuad * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) to[m + i % 2][row + i / 2 * 8] = sums[0][i] + sums[1][i];
}

/// A result: the team's sums, the adapter's share and the bias.
template <class T>
__device__ __forceinline__ void finish_result(const FewRowsGroup& group, std::int64_t row, int m,
                                              float value) {
  if (row >= group.rows || m >= group.products[0].M) return;
  const FewRowsRow at(group, row);
  const FewRows& a = group.products[at.product];
  float adapter = 0;
#pragma unroll 4
  for (std::int64_t r = 0; r < a.R; ++r) {
    adapter = fmaf(small_element<T>(a.b, a.b_dtype, at.n * a.R + r), a.xa[m * a.R + r], adapter);
  }
  value = fmaf(a.scale, adapter, value);
  if (a.bias != nullptr) value += small_element<T>(a.bias, a.out_dtype, at.n);
  store_small<T>(a.out, a.out_dtype, m * a.N + at.n, value);
}

/// A tile for a team of warps at a time; each team has several, a grid apart.
template <class T, int kPacks>
__global__ void __launch_bounds__(kFewRowsThreads, TensorCut<kPacks, true>::kBlocks)
    few_rows_tensor_kernel(const __grid_constant__ FewRowsGroup group) {
  using Cut = TensorCut<kPacks, kHasLargeRing>;
  extern __shared__ uint4 slots[];
  __shared__ TensorSums sums[2][kFewRowsWarps];
  hopper::let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int teams = kFewRowsWarps / group.team;
  const int begin = warp % group.team * kTensorQuad + lane % kTensorQuad;
  const int width = group.team * kTensorQuad;
  const std::int64_t K = group.products[0].K;
  const int packs = static_cast<int>(K / kChunk);
  const int steps_of_tile = (packs + Cut::kStepPacks * width - 1) / (Cut::kStepPacks * width);
  // Neighbours in a multiprocessor's teams are a grid apart, so that what remains at the end spreads over all of them.
  const auto apart = static_cast<int>(gridDim.x);
  const int tile_step = teams * apart;
  const std::int64_t tiles = (group.rows + kTensorRows - 1) / kTensorRows;
  const std::int64_t own_first = blockIdx.x + std::int64_t{warp / group.team} * apart;
  TileSteps<T, Cut> steps({group, own_first, tile_step, begin, width, steps_of_tile}, slots);
  hopper::wait_for_previous();  // which makes x, or xa
  uint4 x[kPacks];
  const T* const own_row = static_cast<const T*>(group.products[0].x) + lane / kTensorQuad * K;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int pack = begin + i * width;
    x[i] = uint4{};
    if (lane / kTensorQuad < group.products[0].M && pack < packs) {
      // SAFETY: rows of x are made of 16 bytes and begin at multiples of them: takes_few_rows().
      x[i] = *reinterpret_cast<const uint4*>(own_row + pack * kChunk);
    }
  }
  int turn = 0;
  for (std::int64_t first = blockIdx.x; first < tiles; first += tile_step, turn ^= 1) {
    const std::int64_t own = first + std::int64_t{warp / group.team} * apart;
    if (own < tiles) multiply_tile<T, Cut>(x, steps_of_tile, steps, sums[turn][warp]);
    __syncthreads();
    for (int i = threadIdx.x; i < teams * kTensorRows * kTensorMostM; i += kFewRowsThreads) {
      const int team = i / (kTensorRows * kTensorMostM);
      const int m = i / kTensorRows % kTensorMostM;
      float value = 0;
      for (int w = 0; w < group.team; ++w) {
        value += sums[turn][team * group.team + w][m][i % kTensorRows];
      }
      const std::int64_t tile = first + std::int64_t{team} * apart;
      if (tile < tiles) finish_result<T>(group, tile * kTensorRows + i % kTensorRows, m, value);
    }
  }
}

// ---- The host's side ----------------------------------------------------------------------------

/// Packs of a row for each lane of a team.
inline std::int64_t tensor_packs_of(const FewRows& a, int team) {
  return ceil_div(a.K / kChunk, std::int64_t{team} * kTensorQuad);
}

/// Whether the kernel above takes a product that few rows are for.
inline bool suits_tensor_cores(const FewRows& a) {
  constexpr int kFewestRows = 2;
  return a.M >= kFewestRows && size_of(a.w_dtype) == 2 &&
         tensor_packs_of(a, kFewRowsWarps) <= kTensorPackCounts.back();
}

template <class T>
void launch_few_rows_tensor(Stream& stream, FewRowsGroup& group) {
  const FewRows& a = group.products[0];
  const std::int64_t tiles = ceil_div(group.rows, kTensorRows);
  const std::int64_t blocks = 2 * backend_of_stream(stream).properties().multiProcessorCount;
  constexpr int kEnough = 8;
  group.team = 1;
  while (group.team < kFewRowsWarps && (tensor_packs_of(a, group.team) > kEnough ||
                                        tiles < blocks * (kFewRowsWarps / group.team))) {
    group.team *= 2;
  }
  const std::int64_t packs = tensor_packs_of(a, group.team);
  bool found = false;
  const auto try_one = [&]<int kPacks>(std::integral_constant<int, kPacks>) {
    if (found || packs > kPacks) return;
    found = true;
    launch_few_rows_kernel<TensorCut<kPacks, true>, TensorCut<kPacks, false>>(
        stream, &few_rows_tensor_kernel<T, kPacks>, tiles, group);
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (try_one(std::integral_constant<int, kTensorPackCounts[i]>{}), ...);
  }(std::make_index_sequence<kTensorPackCounts.size()>{});
  detail::check(found, "few rows whose packs no kernel holds");
}

}  // namespace wick::cuda
