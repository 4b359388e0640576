#pragma once

#include "backends/cuda/hopper_barrier.cuh"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/hopper_thin.hpp"
#include "backends/cuda/tensor_cores.cuh"

// p = x t and d = xᵀ g for several x, by Hopper's copy engine. A cluster of blocks has a strip of rows and goes through one
// x after the other, each block through every so manieth tile of 64 columns. One thread fetches, far ahead and across the
// ends of strips and products; eight warps multiply each tile as it lies in shared memory, both ways. The sums of d over
// the strip's rows leave the registers after each tile of columns; those of p stay for the whole of x, and then the blocks
// add them up, each for some of the rows.

namespace wick::cuda {

struct HopperThinPass {
  const void* g;  ///< [M,R]
  bool g_is_f32;
  std::int64_t g_row_stride;
  void* p;  ///< [M,R], null: not wanted
  std::int64_t p_row_stride;
  float* d_parts;  ///< [strips, C, 16 · rank_blocks]
  int C;
  int R;
  int tiles;        ///< of 64 columns
  int first;        ///< which block of a cluster begins
  int rank_blocks;  ///< of 16
};

struct HopperThinCall {
  int M;
  int count;  ///< of passes
  int strips;
  int strip_rows;  ///< a multiple of kBoxRows
  int cluster;     ///< blocks of one
  HopperThinPass passes[kMostHopperThin];
};

struct HopperThinMaps {
  CUtensorMap x[kMostHopperThin];  ///< [M,C]
  CUtensorMap t[kMostHopperThin];  ///< [C,R]
};

/// kRankBlocks: of 16, of those products that want p.
template <class Element, int kRankBlocks>
struct HopperThinTiling {
  using T = Element;
  static constexpr int kP = kRankBlocks;
  static constexpr int kRows = 128;  ///< of a tile, the last of a strip may have fewer
  static constexpr int kBoxRows =
      32;  ///< of what is copied at a time: also the parts that rows are cut into
  static constexpr int kColumns = 64;
  static constexpr int kGroups = 4 / kP;  ///< tiles of a strip, at most: p's sums are in registers
  static constexpr int kMostRows = kGroups * kRows;
  static constexpr int kMostRankBlocks = 4;  ///< of d
  static constexpr int kConsumers = 8;       ///< warps
  static constexpr int kConsumerThreads = kConsumers * kWarp;
  static constexpr int kThreads = kConsumerThreads + kWarp;
  static constexpr int kStages = kP == 1 ? 7 : kP == 2 ? 6 : 5;

  static constexpr int kXBytes = kRows * kColumns * 2;
  static constexpr int kBoxBytes = kBoxRows * kColumns * 2;
  static constexpr int kTBlockBytes = kColumns * 32;
  static constexpr int kTBytes = kP * kTBlockBytes;
  static constexpr int kMostGBytes = 48 * 1024;  ///< of [rank blocks, rows, 16]
  static constexpr int kPStride = kMostRows + 8;
  static constexpr int kPBytes = 16 * kP * kPStride * 4;  ///< [16 · kP, kPStride] in f32
  static constexpr int kMeetingBytes = kConsumers / 2 * 2 * kMostRankBlocks * kWarp * 16;
  static constexpr int kAlignment = 1024;

  static constexpr int kT = kStages * kXBytes;
  static constexpr int kG = kT + kStages * kTBytes;
  static constexpr int kPSums = kG + kMostGBytes;
  static constexpr int kMeeting = kPSums + kPBytes;
  static constexpr int kBarriers = kMeeting + kMeetingBytes;
  static constexpr int kSharedBytes = kAlignment + kBarriers + (2 * kStages + 2) * 8;
  static_assert(kSharedBytes <= 227 * 1024);

  unsigned char* base;

  __device__ __forceinline__ unsigned at(int offset) const { return shared_address(base) + offset; }
  __device__ __forceinline__ unsigned x(int stage) const { return at(stage * kXBytes); }
  __device__ __forceinline__ unsigned t(int stage) const { return at(kT + stage * kTBytes); }
  __device__ __forceinline__ hopper::Barrier barrier(int i) const {
    return {at(kBarriers + i * 8)};
  }
  __device__ __forceinline__ hopper::Barrier full(int stage) const { return barrier(stage); }
  __device__ __forceinline__ hopper::Barrier empty(int stage) const {
    return barrier(kStages + stage);
  }
  /// Every block of the cluster has its sums of p in its memory; has read those of the others.
  __device__ __forceinline__ hopper::Barrier ready() const { return barrier(2 * kStages); }
  __device__ __forceinline__ hopper::Barrier taken() const { return barrier(2 * kStages + 1); }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// What a lane loads of sixteen ranks of 16 rows of a small matrix, for the left operand of a product. Rows are 32 bytes
/// whose halves change places after every four.
__device__ __forceinline__ int ranks_of_lane(int lane) {
  const int row = lane / 16 * 8 + lane % 8;
  const int half = (lane / 8 & 1) ^ (row >> 2 & 1);
  return row * 32 + half * 16;
}

/// What a block goes through: f(pass, first row, tiles of rows, tile of columns) for each tile of columns.
template <class Tiling>
struct HopperThinWalk {
  const HopperThinCall& call;
  int rank;

  __device__ __forceinline__ int first_strip() const { return blockIdx.x / call.cluster; }
  __device__ __forceinline__ int strip_step() const { return gridDim.x / call.cluster; }
  __device__ __forceinline__ int first_row(int strip) const { return strip * call.strip_rows; }
  /// Of a strip, those beyond the last one included.
  __device__ __forceinline__ int rows(int strip) const {
    const int left = call.M - first_row(strip) + Tiling::kBoxRows - 1;
    return min(call.strip_rows, left / Tiling::kBoxRows * Tiling::kBoxRows);
  }
  __device__ __forceinline__ int first_tile(const HopperThinPass& pass) const {
    return rank >= pass.first ? rank - pass.first : rank - pass.first + call.cluster;
  }
};

template <class Tiling>
__device__ __forceinline__ void produce(const HopperThinWalk<Tiling>& walk, const Tiling& shared,
                                        const HopperThinMaps& maps) {
  const HopperThinCall& call = walk.call;
  hopper::Ring<Tiling::kStages> ring;
  for (int strip = walk.first_strip(); strip < call.strips; strip += walk.strip_step()) {
    const int row = walk.first_row(strip);
    const int rows = walk.rows(strip);
    for (int i = 0; i < call.count; ++i) {
      const HopperThinPass& pass = call.passes[i];
      for (int tile = walk.first_tile(pass); tile < pass.tiles; tile += call.cluster) {
        for (int first = 0; first < rows; first += Tiling::kRows, ring.next()) {
          const hopper::Barrier full = shared.full(ring.stage);
          const bool with_t = first == 0 && pass.p != nullptr;
          const int boxes = min(Tiling::kRows, rows - first) / Tiling::kBoxRows;
          shared.empty(ring.stage).wait(ring.parity ^ 1);
          full.arrive_and_expect(boxes * Tiling::kBoxBytes + (with_t ? Tiling::kTBytes : 0));
          for (int box = 0; box < boxes; ++box) {
            hopper::copy_box(shared.x(ring.stage) + box * Tiling::kBoxBytes, maps.x[i],
                             tile * Tiling::kColumns, row + first + box * Tiling::kBoxRows, full);
          }
          if (!with_t) continue;
          hopper::wait_for_previous();  // which makes t
#pragma unroll
          for (int b = 0; b < Tiling::kP; ++b) {
            hopper::copy_box(shared.t(ring.stage) + b * Tiling::kTBlockBytes, maps.t[i], 16 * b,
                             tile * Tiling::kColumns, full);
          }
        }
      }
    }
  }
}

template <class Tiling>
struct HopperThinConsumer {
  using T = typename Tiling::T;
  static constexpr int kP = Tiling::kP;
  struct Ranks {
    unsigned of[4][kP][4];
  };

  const HopperThinWalk<Tiling>& walk;
  const Tiling& shared;
  int warp = static_cast<int>(threadIdx.x) / kWarp;
  int lane = static_cast<int>(threadIdx.x) % kWarp;
  // Where the lane finds its part of a tile: its row of 128 bytes for p, and the chunk of it, which steps along k change;
  // for d; and in a small matrix.
  int p_row = (warp * 16 + lane / 16 * 8 + lane % 8) * 128;
  int p_chunk = ((lane / 8 % 2) ^ (lane % 8)) << 4;
  int d_at = (warp / 4 * 64 + lane % 16) * 128 + (((warp % 4 * 2 + lane / 16) ^ (lane % 8)) << 4);
  int ranks_at = ranks_of_lane(lane);
  hopper::Ring<Tiling::kStages> ring{};
  int exchanges = 0;
  float p_sums[Tiling::kGroups][2][kP][4];

  static __device__ __forceinline__ void meet(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
  }
  static __device__ __forceinline__ void meet_all() { meet(1, Tiling::kConsumerThreads); }

  // Eight ranks of a row of g, rounded.
  static __device__ __forceinline__ uint4 eight_ranks(const HopperThinPass& pass, int row,
                                                      int rank) {
    const std::int64_t at = row * pass.g_row_stride + rank;
    // SAFETY: rows of g begin at multiples of 16 bytes, and so do eight of their elements.
    if (!pass.g_is_f32)
      return __ldcg(reinterpret_cast<const uint4*>(static_cast<const T*>(pass.g) + at));
    // SAFETY: as above.
    const float4* const g = reinterpret_cast<const float4*>(static_cast<const float*>(pass.g) + at);
    const float4 low = __ldcg(g);
    const float4 high = __ldcg(g + 1);
    return make_uint4(pack_two<T>(low.x, low.y), pack_two<T>(low.z, low.w),
                      pack_two<T>(high.x, high.y), pack_two<T>(high.z, high.w));
  }

  // The strip's rows of g [rank blocks, rows, 16], as ranks_of_lane() wants them; zeros for what there is not.
  __device__ __forceinline__ void load_g(const HopperThinPass& pass, int first_row, int rows) {
    constexpr int kAtOnce = 4;
    const int eights = 2 * pass.rank_blocks;
    const int units = rows * eights;
    meet_all();  // nobody needs the one before
    for (int first = threadIdx.x; first < units; first += kAtOnce * Tiling::kConsumerThreads) {
      uint4 values[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int unit = first + i * Tiling::kConsumerThreads;
        const int row = first_row + unit / eights;
        const int rank = unit % eights * 8;
        const bool exists = unit < units && row < walk.call.M && rank < pass.R;
        values[i] = exists ? eight_ranks(pass, row, rank) : make_uint4(0, 0, 0, 0);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int unit = first + i * Tiling::kConsumerThreads;
        if (unit >= units) break;
        const int row = unit / eights;
        const int eight = unit % eights;
        const int half = (eight & 1) ^ (row >> 2 & 1);
        // SAFETY: a multiple of 16 bytes in the block's own memory.
        *reinterpret_cast<uint4*>(shared.base + Tiling::kG +
                                  ((eight / 2 * rows + row) * 2 + half) * 16) = values[i];
      }
    }
    meet_all();
  }

  __device__ __forceinline__ void load_t(Ranks& t) const {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int b = 0; b < kP; ++b) {
        load_transposed_matrices(
            t.of[k][b], shared.t(ring.stage) + ranks_at + b * Tiling::kTBlockBytes + k * 16 * 32);
      }
    }
  }

  // A tile, as far as its rows go (all of them with kWhole): p of the warp's 16 rows, and d of its 16 columns over one
  // half of the rows.
  template <int kD, bool kWantsP, bool kWhole>
  __device__ __forceinline__ void multiply(unsigned x, unsigned g, int rows, const Ranks& t,
                                           int rank_blocks, int rank_step,
                                           float (&p_sums_of_tile)[2][kP][4],
                                           float (&d_sums)[2][kD][4]) const {
    const bool has_p = kWantsP && (kWhole || warp * 16 < rows);
    const int sixteens = kWhole ? 4 : (rows - warp / 4 * 64) / 16;
    unsigned of_p[4][4];
    unsigned of_d[4][4];
    unsigned left[4][4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (has_p) load_matrices(of_p[k], x + p_row + (p_chunk ^ (k << 5)));
      if (k >= sixteens) continue;
      load_transposed_matrices(of_d[k], x + d_at + k * 16 * 128);
      load_transposed_matrices(left[k], g + k * 16 * 32);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (has_p) {
#pragma unroll
        for (int b = 0; b < kP; ++b) {
          mma<T>(p_sums_of_tile[0][b], t.of[k][b], of_p[k][0], of_p[k][1]);
          mma<T>(p_sums_of_tile[1][b], t.of[k][b], of_p[k][2], of_p[k][3]);
        }
      }
      if (k >= sixteens) continue;
      mma<T>(d_sums[0][0], left[k], of_d[k][0], of_d[k][1]);
      mma<T>(d_sums[1][0], left[k], of_d[k][2], of_d[k][3]);
    }
#pragma unroll
    for (int b = 1; b < kD; ++b) {
      if (b >= rank_blocks) continue;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (k < sixteens) load_transposed_matrices(left[k], g + b * rank_step + k * 16 * 32);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (k >= sixteens) continue;
        mma<T>(d_sums[0][b], left[k], of_d[k][0], of_d[k][1]);
        mma<T>(d_sums[1][b], left[k], of_d[k][2], of_d[k][3]);
      }
    }
  }

  // The upper warps hand their half of d's rows to the lower ones, which store the sums.
  template <int kD>
  __device__ __forceinline__ void store_d(const HopperThinPass& pass, int strip, int tile,
                                          const float (&sums)[2][kD][4]) const {
    const int pair = warp % 4;
    const auto slot = [&](int n, int b) {
      // SAFETY: a multiple of 16 bytes in the block's own memory.
      return reinterpret_cast<float4*>(shared.base + Tiling::kMeeting) +
             ((pair * 2 + n) * Tiling::kMostRankBlocks + b) * kWarp + lane;
    };
    if (warp >= 4) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int b = 0; b < kD; ++b) {
          if (b < pass.rank_blocks) {
            *slot(n, b) = make_float4(sums[n][b][0], sums[n][b][1], sums[n][b][2], sums[n][b][3]);
          }
        }
      }
    }
    meet(2 + pair, 2 * kWarp);
    if (warp < 4) {
      const int column = tile * Tiling::kColumns + pair * 16 + lane % 4 * 2;
      const int padded_rank = 16 * pass.rank_blocks;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        if (column + 8 * n >= pass.C) continue;  // C is a multiple of 8
        float* const d =
            pass.d_parts + (std::int64_t{strip} * pass.C + column + 8 * n) * padded_rank + lane / 4;
#pragma unroll
        for (int b = 0; b < kD; ++b) {
          if (b >= pass.rank_blocks) continue;
          const float4 other = *slot(n, b);
          d[16 * b] = sums[n][b][0] + other.x;
          d[16 * b + padded_rank] = sums[n][b][1] + other.y;
          d[16 * b + 8] = sums[n][b][2] + other.z;
          d[16 * b + 8 + padded_rank] = sums[n][b][3] + other.w;
        }
      }
    }
    meet(2 + pair, 2 * kWarp);  // the upper warp may write again
  }

  template <int kD, bool kWantsP>
  __device__ __forceinline__ void run_tile(const HopperThinPass& pass, int strip, int rows,
                                           int tile) {
    float d_sums[2][kD][4] = {};
    Ranks t;
    unsigned g = shared.at(Tiling::kG) + ranks_at + warp / 4 * 64 * 32;
#pragma unroll
    for (int group = 0; group < Tiling::kGroups; ++group, g += Tiling::kRows * 32) {
      const int left = rows - group * Tiling::kRows;
      if (left <= 0) break;
      shared.full(ring.stage).wait(ring.parity);
      const unsigned x = shared.x(ring.stage);
      if (kWantsP && group == 0) load_t(t);
      if (left >= Tiling::kRows) {
        multiply<kD, kWantsP, true>(x, g, left, t, pass.rank_blocks, rows * 32, p_sums[group],
                                    d_sums);
      } else {
        multiply<kD, kWantsP, false>(x, g, left, t, pass.rank_blocks, rows * 32, p_sums[group],
                                     d_sums);
      }
      __syncwarp();
      if (lane == 0) shared.empty(ring.stage).arrive();
      ring.next();
    }
    store_d<kD>(pass, strip, tile, d_sums);
  }

  // All blocks of the cluster have come here; what each wrote before is seen by all who wait for `barrier`.
  __device__ __forceinline__ void tell_cluster(hopper::Barrier barrier) const {
    meet_all();
    const int thread = threadIdx.x;
    if (thread < walk.call.cluster) barrier.publish_at(thread);
  }

  // Four neighbouring rows of p, added up over the blocks of the cluster.
  __device__ __forceinline__ float4 add_up(const float* own) const {
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 8
    for (int from = 0; from < walk.call.cluster; ++from) {
      const float4 part = hopper::load_four_from(from, own);
      total.x += part.x;
      total.y += part.y;
      total.z += part.z;
      total.w += part.w;
    }
    return total;
  }

  __device__ __forceinline__ void finish_p(const HopperThinPass& pass, int first_row, int rows) {
    // SAFETY: the block's own memory, aligned to 16 bytes.
    float* const sums = reinterpret_cast<float*>(shared.base + Tiling::kPSums);
    if (exchanges > 0) shared.taken().wait_for_cluster((exchanges - 1) & 1);
#pragma unroll
    for (int group = 0; group < Tiling::kGroups; ++group) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int b = 0; b < kP; ++b) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int row = group * Tiling::kRows + warp * 16 + n * 8 + lane % 4 * 2;
            const int r = b * 16 + i * 8 + lane / 4;
            // SAFETY: a multiple of 8 bytes.
            *reinterpret_cast<float2*>(sums + r * Tiling::kPStride + row) =
                make_float2(p_sums[group][n][b][2 * i], p_sums[group][n][b][2 * i + 1]);
          }
        }
      }
    }
    tell_cluster(shared.ready());
    shared.ready().wait_for_cluster(exchanges & 1);
    const int fours = rows / walk.call.cluster / 4;  // of rows, of a block
    for (int i = threadIdx.x; i < fours * 16 * kP; i += Tiling::kConsumerThreads) {
      const int r = i % (16 * kP);
      const int row = (walk.rank * fours + i / (16 * kP)) * 4;
      const float4 total = add_up(sums + r * Tiling::kPStride + row);
      if (r >= pass.R) continue;
      T* const p = static_cast<T*>(pass.p) + (first_row + row) * pass.p_row_stride + r;
      const float four[4] = {total.x, total.y, total.z, total.w};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (first_row + row + k < walk.call.M) p[k * pass.p_row_stride] = from_float<T>(four[k]);
      }
    }
    tell_cluster(shared.taken());
    ++exchanges;
  }

  template <int kD, bool kWantsP>
  __device__ __forceinline__ void run_pass(const HopperThinPass& pass, int strip) {
    const int first_row = walk.first_row(strip);
    const int rows = walk.rows(strip);
    // Its g may be what the whole cluster has just made.
    if (!kWantsP && exchanges > 0) shared.taken().wait_for_cluster((exchanges - 1) & 1);
    load_g(pass, first_row, rows);
#pragma unroll
    for (int group = 0; group < Tiling::kGroups; ++group) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int b = 0; b < kP; ++b) {
#pragma unroll
          for (int i = 0; i < 4; ++i) p_sums[group][n][b][i] = 0;
        }
      }
    }
    for (int tile = walk.first_tile(pass); tile < pass.tiles; tile += walk.call.cluster) {
      run_tile<kD, kWantsP>(pass, strip, rows, tile);
    }
    if (kWantsP) finish_p(pass, first_row, rows);
  }

  __device__ __forceinline__ void run() {
    for (int strip = walk.first_strip(); strip < walk.call.strips; strip += walk.strip_step()) {
#pragma unroll 1
      for (int i = 0; i < walk.call.count; ++i) {
        const HopperThinPass& pass = walk.call.passes[i];
        constexpr int kMost = Tiling::kMostRankBlocks;
        const bool one = pass.rank_blocks == 1;
        if (pass.p != nullptr) {
          one ? run_pass<1, true>(pass, strip) : run_pass<kMost, true>(pass, strip);
        } else {
          one ? run_pass<1, false>(pass, strip) : run_pass<kMost, false>(pass, strip);
        }
      }
    }
  }
};

#endif

template <class Tiling>
__global__ void __launch_bounds__(Tiling::kThreads, 1)
    hopper_thin_kernel(const __grid_constant__ HopperThinMaps maps,
                       const __grid_constant__ HopperThinCall call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ unsigned char memory[];
  const unsigned past = shared_address(memory) % Tiling::kAlignment;
  const Tiling shared{memory + (past == 0 ? 0 : Tiling::kAlignment - past)};
  const HopperThinWalk<Tiling> walk{call, static_cast<int>(hopper::cluster_rank())};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tiling::kStages; ++stage) {
      shared.full(stage).init(1);
      shared.empty(stage).init(Tiling::kConsumers);
    }
    shared.ready().init(call.cluster);
    shared.taken().init(call.cluster);
    hopper::publish_barriers();
  }
  hopper::meet_cluster();
  if (threadIdx.x < Tiling::kConsumerThreads) {
    HopperThinConsumer<Tiling>{walk, shared}.run();
  } else if (threadIdx.x == Tiling::kConsumerThreads) {
    produce(walk, shared, maps);
  }
  __syncwarp();
  hopper::meet_cluster();  // a block must not end while others read its memory
#endif
}

}  // namespace wick::cuda
