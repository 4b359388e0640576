#pragma once

#include "backends/cuda/hopper_lora_ends.cuh"
#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/wgmma.cuh"

// out [M,N] = x w + p s + bias by Hopper's tensor cores, for several w of one x, or summed over several x and w. One thread
// tells the copy engine what to fetch, two warpgroups multiply. They either share a tile, 64 rows each (wide tiles, fewest reads), or take whole tiles in turns, so that one
// stores while the other multiplies (short sums). p and s are one more tile along K, as narrow as the rank lets it be. Two
// blocks of a cluster make tiles one below the other and share those of w and s.
//
// Where p = x aᵀ is not given, a block makes that of its rows beside the tile, in a few registers more, and takes it from
// there. The tiles of a part's first columns come before all others and write it to memory; a tile that begins later, and
// finds p of its rows there, fetches it. No block waits for another one, and the bits are the same either way.

namespace wick::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <class Tiling>
__device__ __forceinline__ int rank_in_cluster() {
  return Tiling::kCluster == 1 ? 0 : static_cast<int>(hopper::cluster_rank());
}

/// Where the tile of that number begins. Neighbours share rows of x and columns of w, which so stay in the L2 cache.
struct HopperPlace {
  int row;
  int column;
  int part;       ///< the first one that is computed there
  bool is_first;  ///< of the tiles that need the same p

  template <class Tiling>
  static __device__ __forceinline__ HopperPlace of(const HopperCall& call, int tile) {
    if (Tiling::kRank > 0 && tile < call.firsts) {
      return {row_of<Tiling>(tile % call.m_groups), 0, tile / call.m_groups, true};
    }
    const int from = tile - call.firsts;
    const int per_band = call.raster * call.n_tiles;
    const int first = from / per_band * call.raster;
    const int height = min(call.m_groups - first, call.raster);
    const int inside = from % per_band;
    const int n = inside / height;
    int part = 0;
    while (n >= call.parts[part].n_end) ++part;
    const int begin = part == 0 ? 0 : call.parts[part - 1].n_end;
    const int skipped = Tiling::kRank > 0 ? 1 : 0;
    return {row_of<Tiling>(first + inside % height), (n - begin + skipped) * Tiling::kColumns, part,
            false};
  }
  template <class Tiling>
  static __device__ __forceinline__ int row_of(int m_group) {
    return (m_group * Tiling::kCluster + rank_in_cluster<Tiling>()) * Tiling::kM;
  }
};

// ---- The producing warp -------------------------------------------------------------------------

template <class Tiling>
__device__ __forceinline__ void copy_to_cluster(unsigned to, const CUtensorMap& map, int column,
                                                int row, hopper::Barrier full) {
  if constexpr (Tiling::kCluster == 1) {
    hopper::copy_box(to, map, column, row, full);
  } else {
    constexpr unsigned short kAll = (1U << Tiling::kCluster) - 1;
    hopper::copy_box_to(kAll, to, map, column, row, full);
  }
}

/// Whether this tile's p is to be made, since no other one has done it yet.
template <class Tiling>
__device__ __forceinline__ bool must_make(const HopperCall& call, const HopperPlace& place) {
  if constexpr (Tiling::kRank == 0) return false;
  if (place.is_first) return true;
  const unsigned* const made = call.parts[place.part].made;
  if (hopper::load_acquire(made + place.row / Tiling::kM) < Tiling::kMakers) return true;
  hopper::publish_to_copies();  // what was seen by the load is seen by the copy engine
  return false;
}

/// x and w from k on, and a where p is made. Each block of the cluster fetches its part of w for all of them; a, which is
/// small and not always wanted by both, for itself.
template <class Tiling>
__device__ __forceinline__ void fetch_base(const Tiling& shared, int stage,
                                           const HopperPartMaps& all, int part,
                                           const HopperPlace& place, int k, bool makes) {
  const HopperMaps& maps = all.parts[part];
  const hopper::Barrier full = shared.full(stage);
  const int rank = rank_in_cluster<Tiling>();
  const int first = rank * Tiling::kWBoxRows;
  full.arrive_and_expect(makes ? Tiling::kStageBytes : Tiling::kBaseBytes);
  hopper::copy_box(shared.x(stage), maps.x, k, place.row, full);
  if (makes) hopper::copy_box(shared.a(stage), maps.a, k, 0, full);
  if constexpr (Tiling::kAcrossK) {
#pragma unroll
    for (int box = 0; box < Tiling::kWBoxes; ++box) {
      copy_to_cluster<Tiling>(shared.w(stage) + (box * Tiling::kK + first) * Tiling::kRowBytes,
                              maps.w, place.column + box * 64, k + first, full);
    }
  } else {
    copy_to_cluster<Tiling>(shared.w(stage) + first * Tiling::kRowBytes,
                            Tiling::kPair ? all.parts[rank].w : maps.w, k,
                            place.column + (Tiling::kPair ? 0 : first), full);
  }
}

/// p, where it is not made, and s. Of a pair, those of gate meet the first ranks of p and those of up the others: what lies
/// outside of s is 0.
template <class Tiling>
__device__ __forceinline__ void fetch_adapter(const Tiling& shared, int stage,
                                              const HopperPartMaps& all, int part,
                                              const HopperPlace& place, const HopperCall& call,
                                              bool makes) {
  const int row_bytes = call.parts[part].rank_tile * 2;
  const hopper::Barrier full = shared.full(stage);
  const int rank = rank_in_cluster<Tiling>();
  const int first = rank * Tiling::kSBoxRows;
  full.arrive_and_expect((Tiling::kN + (makes ? 0 : Tiling::kM)) * row_bytes);
  if (!makes) hopper::copy_box(shared.x(stage), all.parts[part].p, 0, place.row, full);
  const unsigned to = shared.w(stage) + first * row_bytes;
  if constexpr (Tiling::kPair) {
    copy_to_cluster<Tiling>(to, all.parts[rank].s, rank == 0 ? 0 : -call.split, place.column, full);
  } else {
    copy_to_cluster<Tiling>(to, all.parts[part].s, 0, place.column + first, full);
  }
}

template <class Tiling>
__device__ __forceinline__ void produce(const HopperCall& call, const Tiling& shared,
                                        const HopperPartMaps& maps) {
  hopper::Ring<Tiling::kStages> ring;
  for (int tile = blockIdx.x / Tiling::kCluster; tile < call.tiles;
       tile += gridDim.x / Tiling::kCluster) {
    const HopperPlace place = HopperPlace::of<Tiling>(call, tile);
    const bool makes = must_make<Tiling>(call, place);
    for (int part = place.part; part < place.part + call.summed; ++part) {
      const int k_tiles = call.parts[part].k_tiles;
      for (int k = 0; k <= k_tiles; ++k, ring.next()) {
        shared.empty(ring.stage).wait(ring.parity ^ 1);
        if (Tiling::kRank > 0 && k == 0) hopper::store_shared(shared.choice(ring.stage), makes);
        if (k < k_tiles) {
          fetch_base(shared, ring.stage, maps, part, place, k * Tiling::kK, makes);
        } else {
          fetch_adapter(shared, ring.stage, maps, part, place, call, makes);
        }
      }
    }
  }
}

/// Gate and up for the ends of tiles, each as soon as the tile before has left its place.
template <class Tiling>
__device__ __forceinline__ void produce_ends(const HopperCall& call, const Tiling& shared,
                                             const HopperPartMaps& maps) {
  unsigned parity = 1;
  int group = 0;
  for (int tile = blockIdx.x / Tiling::kCluster; tile < call.tiles;
       tile += gridDim.x / Tiling::kCluster, parity ^= 1, group ^= 1) {
    const HopperPlace place = HopperPlace::of<Tiling>(call, tile);
    for (int box = 0; box < Tiling::kEndBoxes; ++box) {
      const hopper::Barrier full = shared.end_full(group, box);
      shared.end_empty(box).wait(parity);
      full.arrive_and_expect(2 * Tiling::kXBytes);
      hopper::copy_box(shared.gate(box), maps.gate, place.column + 64 * box, place.row, full);
      hopper::copy_box(shared.up(box), maps.up, place.column + 64 * box, place.row, full);
    }
  }
}

// ---- The consuming warpgroups -------------------------------------------------------------------

/// Keeps reads of the sums behind the wait before.
template <int kCount>
__device__ __forceinline__ void settle(float (&sum)[kCount][4]) {
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(sum[n][i])::"memory");
  }
}

template <class Tiling>
struct HopperConsumer {
  static constexpr int kSums = Tiling::kN / 8;
  using Low = float[Tiling::kRowBlocks][Tiling::kRank / 8 + (Tiling::kRank == 0)][4];  ///< of p

  const HopperCall& call;
  const Tiling& shared;
  int group;
  int thread;
  unsigned turn_parity = group == 0 ? 1U : 0U;
  unsigned end_parity = 0;
  hopper::Ring<Tiling::kStages> ring{};
  float sum[Tiling::kRowBlocks][kSums][4];

  __device__ __forceinline__ void release(int stage) const {
    if constexpr (Tiling::kCluster == 1) {
      if (thread == 0) shared.empty(stage).arrive();
    } else if (thread < Tiling::kCluster) {
      shared.empty(stage).arrive_at(thread);
    }
  }

  /// Adds 16 of K, or of the rank. kAcross: of a w that is dense along N.
  template <bool kAcross>
  __device__ __forceinline__ void add_step(int step, int row_bytes, bool adds) {
    using hopper::MatrixDescriptor;
    constexpr int kBoxBytes = Tiling::kK * Tiling::kRowBytes;
    const int first = Tiling::kTurns ? 0 : group * 64;
    const unsigned to_w = shared.w(ring.stage);
    const auto w = kAcross ? MatrixDescriptor::across_k(to_w, kBoxBytes).plus(kBoxBytes / 4 * step)
                           : MatrixDescriptor::along_k(to_w, row_bytes).plus(32 * step);
#pragma unroll
    for (int b = 0; b < Tiling::kRowBlocks; ++b) {
      const auto x =
          MatrixDescriptor::along_k(shared.x(ring.stage) + (first + 64 * b) * row_bytes, row_bytes);
      hopper::Products<typename Tiling::T, Tiling::kN, kAcross>::add(sum[b], x.plus(32 * step), w,
                                                                     adds);
    }
  }

  /// Adds 16 of K to p.
  __device__ __forceinline__ void make_step(int step, bool adds, Low& low) {
    using hopper::MatrixDescriptor;
    const int first = Tiling::kTurns ? 0 : group * 64;
    const auto a = MatrixDescriptor::along_k(shared.a(ring.stage)).plus(32 * step);
#pragma unroll
    for (int b = 0; b < Tiling::kRowBlocks; ++b) {
      const auto x =
          MatrixDescriptor::along_k(shared.x(ring.stage) + (first + 64 * b) * Tiling::kRowBytes);
      hopper::Products<typename Tiling::T, Tiling::kRank, false>::add(low[b], x.plus(32 * step), a,
                                                                      adds);
    }
  }

  /// All of K of a part; kMakes: p as well. `before` is the stage whose products may still run, -1 before the first one.
  template <bool kMakes, class LowSums>
  __device__ __forceinline__ void add_base(int k_tiles, int& before, LowSums& low) {
    for (int k = 0; k < k_tiles; ++k, ring.next()) {
      shared.full(ring.stage).wait(ring.parity);
      hopper::begin_products();
#pragma unroll
      for (int i = 0; i < Tiling::kK / 16; ++i) {
        if constexpr (kMakes) make_step(i, k > 0 || i > 0, low);
        add_step<Tiling::kAcrossK>(i, Tiling::kRowBytes, before >= 0 || i > 0);
      }
      hopper::commit_products();
      hopper::wait_for_products<1>();
      if (before >= 0) release(before);
      before = ring.stage;
    }
  }

  /// Lets the other group begin, from the last stage along K on.
  __device__ __forceinline__ void pass_turn() const {
    if (Tiling::kTurns && thread == 0) shared.turn(1 - group).arrive();
  }

  /// The end of a tile: its last products ran in the ring's stage.
  __device__ __forceinline__ void settle_sums() {
    hopper::wait_for_products<0>();
#pragma unroll
    for (int b = 0; b < Tiling::kRowBlocks; ++b) settle(sum[b]);
    release(ring.stage);
    ring.next();
  }

  /// The tile, where p lies in memory.
  __device__ __forceinline__ void multiply_given(int first) {
    int before = -1;
    for (int part = first; part < first + call.summed; ++part) {
      const HopperPartCall& own = call.parts[part];
      add_base<false>(own.k_tiles, before, sum);
      shared.full(ring.stage).wait(ring.parity);
#pragma unroll 1
      for (int i = 0; i < own.rank_steps; ++i) {
        hopper::begin_products();
        add_step<false>(i, own.rank_tile * 2, true);
        hopper::commit_products();
      }
      if (part + 1 == first + call.summed) break;
      hopper::wait_for_products<1>();
      release(before);
      before = ring.stage;
      ring.next();
    }
    pass_turn();
    hopper::wait_for_products<0>();
    release(before);
    settle_sums();
  }

  /// The tile and p, which is rounded in the registers where the last products want it.
  __device__ __forceinline__ void multiply_making(const HopperPlace& place) {
    using hopper::MatrixDescriptor;
    using T = typename Tiling::T;
    constexpr int kSteps = Tiling::kRank / 16;
    Low low{};
    int before = -1;
    add_base<true>(call.parts[place.part].k_tiles, before, low);
    shared.full(ring.stage).wait(ring.parity);
    pass_turn();
    hopper::wait_for_products<0>();
    release(before);
    unsigned p[Tiling::kRowBlocks][kSteps][4];
#pragma unroll
    for (int b = 0; b < Tiling::kRowBlocks; ++b) {
      settle(low[b]);
#pragma unroll
      for (int i = 0; i < kSteps * 4; ++i) {
        const float* const pair = &low[b][i / 2][i % 2 * 2];
        p[b][i / 4][i % 4] = pack_two<T>(pair[0], pair[1]);
      }
    }
    hopper::begin_products();
    const auto s = MatrixDescriptor::along_k(shared.w(ring.stage), Tiling::kRank * 2);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
#pragma unroll
      for (int b = 0; b < Tiling::kRowBlocks; ++b) {
        hopper::RegisterProducts<T, Tiling::kN>::add(sum[b], p[b][i], s.plus(32 * i));
      }
    }
    hopper::commit_products();
    settle_sums();
    if (place.is_first) store_low(place, low);
  }

  /// p for the tiles that come later, and for the backward pass.
  __device__ __forceinline__ void store_low(const HopperPlace& place, const Low& low) const {
    using T = typename Tiling::T;
    const HopperPartCall& own = call.parts[place.part];
    T* const p = static_cast<T*>(own.p);
#pragma unroll
    for (int b = 0; b < Tiling::kRowBlocks; ++b) {
#pragma unroll
      for (int i = 0; i < Tiling::kRank / 4; ++i) {  // eights of columns, and the two rows of each
        const float* const pair = &low[b][i / 2][i % 2 * 2];
        const std::int64_t row = first_row(place) + 64 * b + 8 * (i % 2);
        const int r = i / 2 * 8 + 2 * (thread % 4);
        if (row >= call.M || r >= own.R) continue;
        // SAFETY: r and the lengths of rows are even, and rows begin at multiples of 16 bytes.
        *reinterpret_cast<unsigned*>(p + row * own.p_stride + r) = pack_two<T>(pair[0], pair[1]);
        store_for_backward(own, row, r, {pair[0], pair[1]});
      }
    }
    hopper::publish_to_copies();
    __threadfence();
    __syncwarp();
    if (thread % kWarp == 0) hopper::add_release(own.made + place.row / Tiling::kM, 1);
  }

  /// Neighbours of p [M,R] in f32; a pair has one for gate's ranks and one for up's.
  __device__ __forceinline__ void store_for_backward(const HopperPartCall& own, std::int64_t row,
                                                     int r, const float (&values)[2]) const {
    if (!Tiling::kPair || r < call.split) {
      const int R = Tiling::kPair ? call.split : own.R;
      if (own.p_f32 != nullptr) store_pack<2>(own.p_f32 + row * R + r, values);
    } else if (float* const of_up = call.parts[1].p_f32; of_up != nullptr) {
      store_pack<2>(of_up + row * (own.R - call.split) + r - call.split, values);
    }
  }

  __device__ __forceinline__ int first_row(const HopperPlace& place) const {
    return place.row + (Tiling::kTurns ? 0 : group * 64) + thread / kWarp * 16 + thread % kWarp / 4;
  }

  __device__ __forceinline__ void multiply(const HopperPlace& place) {
    // Whoever waits for a stage must not be more than one round ahead of it: parities tell no more apart.
    if (Tiling::kTurns) shared.turn(group).wait(turn_parity);
    turn_parity ^= 1;
    if constexpr (Tiling::kRank > 0) {
      shared.full(ring.stage).wait(ring.parity);
      if (hopper::load_shared(shared.choice(ring.stage)) != 0) return multiply_making(place);
    }
    multiply_given(place.part);
  }

  __device__ __forceinline__ void store(const HopperPlace& place) {
    using T = typename Tiling::T;
    const int row = first_row(place);
    if constexpr (Tiling::kEnd == HopperEnd::kSwigluBackward) {
      store_gradients(place, std::make_integer_sequence<int, Tiling::kEndBoxes>());
      end_parity ^= 1;
    } else {
#pragma unroll
      for (int b = 0; b < Tiling::kRowBlocks; ++b) {
        if constexpr (Tiling::kPair) {
          store_swiglu<T>(call, sum[b], row + 64 * b, place.column);
        } else {
          store_sums<T>(call.parts[place.part], call.M, sum[b], row + 64 * b, place.column);
        }
      }
    }
  }

  template <int... kBoxes>
  __device__ __forceinline__ void store_gradients(const HopperPlace& place,
                                                  std::integer_sequence<int, kBoxes...> /*boxes*/) {
    (store_gradients_of_box<kBoxes>(place), ...);
  }

  /// Those of 64 columns.
  template <int kBox>
  __device__ __forceinline__ void store_gradients_of_box(const HopperPlace& place) {
    const int row = first_row(place);
    shared.end_full(group, kBox).wait(end_parity);
#pragma unroll
    for (int b = 0; b < Tiling::kRowBlocks; ++b) {
      store_swiglu_gradients<typename Tiling::T, 8 * kBox>(
          call, sum[b], row + 64 * b, place.column + 64 * kBox, shared.gate(kBox), shared.up(kBox),
          row - place.row + 64 * b);
    }
    hopper::meet_warpgroup(1 + group);  // all have read what the next copy overwrites
    if (thread == 0) shared.end_empty(kBox).arrive();
  }

  __device__ __forceinline__ void run() {
    const int step = static_cast<int>(gridDim.x) / Tiling::kCluster;
    int tile = static_cast<int>(blockIdx.x) / Tiling::kCluster;
    if (Tiling::kTurns && group == 1) {
      tile += step;
      ring.skip(call.stages);
    }
    for (; tile < call.tiles; tile += Tiling::kTurns ? 2 * step : step) {
      const HopperPlace place = HopperPlace::of<Tiling>(call, tile);
      multiply(place);
      store(place);
      if (Tiling::kTurns) ring.skip(call.stages);
    }
  }
};

#endif

template <class Tiling>
__global__ void __launch_bounds__(Tiling::kThreads, 1)
    hopper_lora_kernel(const __grid_constant__ HopperPartMaps maps,
                       const __grid_constant__ HopperCall call) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  hopper::let_next_begin();
  extern __shared__ unsigned char memory[];
  const unsigned unaligned = shared_address(memory);
  const Tiling shared{(unaligned + Tiling::kAlignment - 1) / Tiling::kAlignment *
                      Tiling::kAlignment};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tiling::kStages; ++stage) {
      shared.full(stage).init(1);
      shared.empty(stage).init(Tiling::kCluster * (Tiling::kTurns ? 1 : Tiling::kConsumers));
    }
    for (int group = 0; group < Tiling::kConsumers; ++group) shared.turn(group).init(1);
    for (int box = 0; box < Tiling::kEndBoxes; ++box) {
      for (int group = 0; group < Tiling::kConsumers; ++group) shared.end_full(group, box).init(1);
      shared.end_empty(box).init(1);
    }
    hopper::publish_barriers();
  }
  if constexpr (Tiling::kCluster == 1) {
    __syncthreads();
  } else {
    hopper::meet_cluster();
  }
  if (threadIdx.x < 128) {
    hopper::give_registers<40>();
    if (threadIdx.x == 0) produce(call, shared, maps);
    if (Tiling::kEndBoxes > 0 && threadIdx.x == kWarp) produce_ends(call, shared, maps);
  } else {
    hopper::take_registers<232>();
    HopperConsumer<Tiling> consumer{call, shared, static_cast<int>(threadIdx.x) / 128 - 1,
                                    static_cast<int>(threadIdx.x) % 128};
    consumer.run();
  }
  // A block must not end while the other one still sends to its memory.
  if constexpr (Tiling::kCluster > 1) hopper::meet_cluster();
#endif
}

}  // namespace wick::cuda
