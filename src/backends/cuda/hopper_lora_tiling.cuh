#pragma once

#include <algorithm>

#include "backends/cuda/hopper_barrier.cuh"
#include "backends/cuda/hopper_lora.hpp"

// What hopper_lora_kernel is given, and how its tiles lie in shared memory.

namespace wick::cuda {

struct HopperPartCall {
  int N;
  int n_end;  ///< number of the tile along N, over all parts, behind its last one; first ones do not count
  int k_tiles;       ///< of x and w
  int rank_steps;    ///< of 16
  int rank_tile;     ///< 16, 32 or 64: what is fetched of p and s along the rank
  const void* bias;  ///< [N], may be null
  void* out;
  // Where p is made here:
  int R;
  float* p_f32;  ///< [M,R], may be null
  void* p;       ///< [M,R], rows p_stride apart
  int p_stride;
  unsigned* made;  ///< of each row tile: how many warps have written their p
};

struct HopperCall {
  int M;
  int m_groups;  ///< clusters of tiles along M
  int firsts;  ///< where p is made: m_groups tiles of each part that come before all others; else 0
  int tiles;   ///< of clusters, in all
  int n_tiles;  ///< along N without the first ones, over all parts, or of the one that has the sum
  int raster;   ///< how many m_groups are walked before the next tile along N
  int summed;   ///< parts that are added up; 1 where each has its own result
  int stages;   ///< tiles along K of a result, those of the ranks counted
  HopperPartCall parts[kMostHopperParts];
  // Where a tile ends in swiglu or its gradient:
  int split;  ///< ranks of gate, the rest are up's
  void* h;    ///< [M,N] each; beside gradients null where it is not wanted
  void* dgate;
  void* dup;
};

/// How the copy engine sees the operands of a part.
struct HopperMaps {
  CUtensorMap x;  ///< [M,K]
  CUtensorMap w;  ///< [N,K], or [K,N]
  CUtensorMap p;  ///< [M,R]
  CUtensorMap s;  ///< [N,R]
  CUtensorMap a;  ///< [R,K], where p is made
};
struct HopperPartMaps {
  HopperMaps parts[kMostHopperParts];
  CUtensorMap gate;  ///< [M,N], where the end wants them
  CUtensorMap up;
};

/// What becomes of sums. kSwiglu: those of a tile are as many columns of gate and of up, which are stored with swiglu(gate,
/// up). kSwigluBackward: they are the gradient of swiglu, of which those of gate and up are made and stored.
enum class HopperEnd { kPlain, kSwiglu, kSwigluBackward };

/// How a product is cut. kInTurns: warpgroups take tiles in turns. kLowRank: p is made, of up to so many columns; 0: it is
/// given.
template <class Element, int kWidth, bool kInTurns, bool kTransposed, int kBlocks, int kMostStages,
          int kLowRank = 0, HopperEnd kTheEnd = HopperEnd::kPlain>
struct HopperTiling {
  using T = Element;
  static constexpr int kN = kWidth;
  static constexpr bool kTurns = kInTurns;
  static constexpr bool kAcrossK = kTransposed;  ///< w is dense along N
  static constexpr int kCluster =
      kBlocks;  ///< blocks, one below the other, that share tiles of w and s
  static constexpr int kRank = kLowRank;
  static constexpr HopperEnd kEnd = kTheEnd;
  static constexpr bool kPair = kEnd == HopperEnd::kSwiglu;
  static constexpr int kColumns = kPair ? kN / 2 : kN;  ///< of each result
  /// Places for 64 columns of gate and of up each, which come in while the tile is multiplied.
  static constexpr int kEndBoxes = kEnd == HopperEnd::kSwigluBackward ? kN / 64 : 0;
  static constexpr int kM = 128;
  static constexpr int kK = 64;
  static constexpr int kRowBytes = kK * 2;
  static constexpr int kConsumers = 2;
  static constexpr int kThreads = 128 * (1 + kConsumers);
  static constexpr int kRowBlocks = kTurns ? 2 : 1;  ///< of 64 rows, of a warpgroup
  static constexpr int kXBytes = kM * kRowBytes;
  static constexpr int kWBoxes = (kN + 63) / 64;  ///< where w is dense along N
  static constexpr int kWBytes = (kAcrossK ? kWBoxes * 64 : kN) * kRowBytes;
  static constexpr int kBaseBytes = kXBytes + kWBytes;
  static constexpr int kABytes = kRank * kRowBytes;
  static constexpr int kStageBytes = kBaseBytes + kABytes;
  static constexpr int kAlignment = 1024;
  static constexpr int kEndBytes = kEndBoxes * 2 * kXBytes;
  static constexpr int kMostBytes = 227 * 1024 - kAlignment - 256 - kEndBytes;  ///< of stages
  static constexpr int kStages = std::min(kMostStages, kMostBytes / kStageBytes);
  static constexpr int kBarriers = 2 * kStages + kConsumers + (kConsumers + 1) * kEndBoxes;
  static constexpr int kSharedBytes =
      kAlignment + kStages * kStageBytes + kEndBytes + kBarriers * 8 + kStages * 4;
  static constexpr unsigned kMakers = 4 * (kTurns ? 1 : kConsumers);  ///< warps of a row tile
  static_assert(kEndBoxes == 0 || (kTurns && kN % 64 == 0 && kStageBytes % kAlignment == 0));
  static_assert(!kPair || kCluster == 2);
  static constexpr int kWBoxRows = (kAcrossK ? kK : kN) / kCluster;
  static constexpr int kSBoxRows = kN / kCluster;

  unsigned base;
  __device__ __forceinline__ unsigned x(int stage) const { return base + stage * kStageBytes; }
  __device__ __forceinline__ unsigned w(int stage) const { return x(stage) + kXBytes; }
  __device__ __forceinline__ unsigned a(int stage) const { return x(stage) + kBaseBytes; }
  __device__ __forceinline__ unsigned gate(int box) const { return x(kStages) + box * 2 * kXBytes; }
  __device__ __forceinline__ unsigned up(int box) const { return gate(box) + kXBytes; }
  __device__ __forceinline__ hopper::Barrier full(int stage) const {
    return {gate(kEndBoxes) + stage * 8};
  }
  __device__ __forceinline__ hopper::Barrier empty(int stage) const {
    return full(kStages + stage);
  }
  __device__ __forceinline__ hopper::Barrier turn(int group) const {
    return full(2 * kStages + group);
  }
  /// One of each warpgroup, which so is never more than one tile ahead of what it waits for: parities tell no more apart.
  __device__ __forceinline__ hopper::Barrier end_full(int group, int box) const {
    return turn(kConsumers + group * kEndBoxes + box);
  }
  __device__ __forceinline__ hopper::Barrier end_empty(int box) const {
    return end_full(kConsumers, box);
  }
  /// Where the producer says of the tile that begins in that stage whether its p is to be made.
  __device__ __forceinline__ unsigned choice(int stage) const {
    return full(kBarriers).address + stage * 4;
  }
};

}  // namespace wick::cuda
