#pragma once

#include <type_traits>

#include "backends/cuda/activation_math.cuh"
#include "backends/cuda/few_rows_group.cuh"

// One row of x (a decoded token) by long rows of w: x lies in shared memory, so that one kernel takes every K and stays in the
// instruction cache from product to product, and x aᵀ is made in the same launch: a few warps sum pieces of it while the weights
// come in, and a block waits for all pieces when its warps have their first sums.

namespace wick::cuda {

inline constexpr int kOneRowThreads = 512;  ///< of a block, one on a multiprocessor
inline constexpr int kOneRowWarps = kOneRowThreads / kWarp;
inline constexpr int kPieceOfA = 1024;        ///< elements of a row of a that a warp sums at a time
inline constexpr int kMostRanksOfOne = 1024;  ///< of all products together

template <bool kLarge>
struct OneRowCut {
  static constexpr int kThreads = kOneRowThreads;
  static constexpr int kBlocks = 1;
  static constexpr int kStepPacks = 2;
  static constexpr int kStepBytes = kThreads * kStepPacks * 16;
  static constexpr int kSteps = kLarge ? 10 : 3;
  static constexpr int kFirstSteps = 2;
  static constexpr int kOnTheirWay = kLarge ? 4 : 2;
  static constexpr int kXBytes = (kLarge ? 60 : 44) * 1024;
  static constexpr int kSharedBytes = kSteps * kStepBytes + kXBytes;
};

/// The first row of a warp: neighbours in a multiprocessor's warps are a grid apart, so that what remains at the end spreads over
/// all of them.
__device__ __forceinline__ int first_row_of_warp() {
  return static_cast<int>(blockIdx.x) +
         static_cast<int>(threadIdx.x) / kWarp * static_cast<int>(gridDim.x);
}

/// Which rows a warp makes, all of them dealt out.
class DealtRows {
 public:
  struct Room {};

  __device__ DealtRows(const FewRowsGroup& /*group*/, int /*count*/, Room& /*room*/)
      : warps_(kOneRowWarps * static_cast<int>(gridDim.x)),
        fetched_(first_row_of_warp()),
        taken_(fetched_) {}

  /// A row to fetch, count or more: none.
  __device__ __forceinline__ int fetch() { return next(fetched_); }
  /// The rows that were fetched, one after the other, and then one that is count or more.
  __device__ __forceinline__ int take() { return next(taken_); }

 private:
  __device__ __forceinline__ int next(int& row) const {
    row += warps_;
    return row - warps_;
  }

  int warps_, fetched_, taken_;
};

/// As above, but the last round goes to whoever is ready for it. A kernel starts on multiprocessors as they come free from the
/// one before it, and memory is not as fast for each of them: with all rows dealt out the last of them was over up to a
/// tenth later than the first.
class DrawnRows {
 public:
  static constexpr int kMost = 16;  ///< rows that are on their way

  struct Room {
    int rows[kOneRowWarps][kMost];
  };

  __device__ DrawnRows(const FewRowsGroup& group, int count, Room& room)
      : count_(count),
        warps_(kOneRowWarps * static_cast<int>(gridDim.x)),
        ticket_(group.ticket),
        rows_(room.rows[threadIdx.x / kWarp]),
        next_(first_row_of_warp()),
        dealt_(max(count / warps_ - 1, 0) * warps_) {
    if (next_ >= dealt_) draw();
  }

  __device__ __forceinline__ int fetch() {
    int row = next_;
    if (row < dealt_) {
      next_ += warps_;
      if (next_ >= dealt_) draw();
    } else {
      row = dealt_ + __shfl_sync(kAllLanes, drawn_, 0);
      if (row < count_) {
        draw();
      } else if (row == count_ + warps_ - 1 && threadIdx.x % kWarp == 0) {
        *ticket_ = 0;  // the last of all warps to draw leaves a zero
      }
    }
    if (threadIdx.x % kWarp == 0) rows_[fetched_ % kMost] = row;
    ++fetched_;
    return row;
  }

  __device__ __forceinline__ int take() {
    __syncwarp();
    return rows_[taken_++ % kMost];
  }

 private:
  // One row ahead: the answer is there when it is needed.
  __device__ __forceinline__ void draw() {
    if (threadIdx.x % kWarp == 0) drawn_ = static_cast<int>(atomicAdd(ticket_, 1U));
  }

  int count_, warps_;
  unsigned* ticket_;
  int* rows_;
  int next_, dealt_;
  int drawn_ = 0;
  unsigned fetched_ = 0;
  unsigned taken_ = 0;
};

/// The packs of w that a thread needs for the rows of a warp; with kSwiglu for the same row of the first two products in turn.
template <class W, class Cut, class Rows, bool kSwiglu>
class OneRowWeights {
 public:
  static constexpr int kVec = kPackSize<W>;
  static constexpr int kWidth = kWarp * kVec;

  __device__ OneRowWeights(const FewRowsGroup& group, Rows& rows, int count)
      : group_(group), rows_(rows), count_(count), K_(static_cast<int>(group.products[0].K)) {
    begin_row();
  }

  /// Starts to copy the next step to a slot, if there is one.
  __device__ __forceinline__ void copy(unsigned slot) {
    if (row_ >= count_) return;
#pragma unroll
    for (int u = 0; u < Cut::kStepPacks; ++u) {
      const int k = k_ + u * kWidth;
      if (k < K_) copy_async(slot + u * Cut::kThreads * 16, w_ + k, true);
    }
    k_ += Cut::kStepPacks * kWidth;
    // Every thread of a row takes as many steps of it.
    if (k_ - first_k() < K_) return;
    if (kSwiglu && !is_second_) {
      is_second_ = true;
      seek();
    } else {
      begin_row();
    }
  }

 private:
  static __device__ __forceinline__ int first_k() {
    return static_cast<int>(threadIdx.x) % kWarp * kVec;
  }

  __device__ __forceinline__ void begin_row() {
    row_ = rows_.fetch();
    is_second_ = false;
    seek();
  }

  __device__ __forceinline__ void seek() {
    k_ = first_k();
    if (row_ >= count_) return;
    const FewRowsRow at(group_, row_ + (is_second_ ? group_.products[0].N : 0));
    w_ = static_cast<const W*>(group_.products[at.product].w) + at.n * K_;
  }

  const FewRowsGroup& group_;
  Rows& rows_;
  const W* w_ = nullptr;
  int count_, K_;
  int row_ = 0;
  int k_ = 0;
  bool is_second_ = false;
};

/// Pieces of a row of a.
__host__ __device__ inline int pieces_of(std::int64_t K) {
  return static_cast<int>((K + kPieceOfA - 1) / kPieceOfA);
}

/// Row `rank` of the a of all products, one below the other: row r of one of them.
struct RankOfA {
  int product = 0;
  int r;

  __device__ __forceinline__ RankOfA(const FewRowsGroup& group, int rank) : r(rank) {
    while (r >= group.products[product].R) r -= static_cast<int>(group.products[product++].R);
  }
};

/// The sum of a piece, in every lane.
template <class A, class X>
__device__ __forceinline__ float sum_of_piece(const A* a, const X* x, int count, int lane) {
  constexpr int kVec = kPackSize<A>;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPieceOfA / (kWarp * kVec); ++i) {
    const int k = (i * kWarp + lane) * kVec;
    if (k >= count) continue;
    const auto left = load_floats<kVec>(a + k);
    const auto right = load_floats<kVec>(x + k);
#pragma unroll
    for (int v = 0; v < kVec; ++v) sum = fmaf(left.values[v], right.values[v], sum);
  }
  return warp_reduce<Sum>(sum);
}

/// What the blocks of a launch do together: the sums of x aᵀ. A unit is a piece of a row of a: that of piece p of rank r is
/// unit r · pieces + p, and its sum parts[unit].
template <class X>
class SharedXa {
 public:
  __device__ SharedXa(const FewRowsGroup& group, float* xa) : group_(group), xa_(xa) {
    for (const FewRows& product : group.products) ranks_ += static_cast<int>(product.R);
    if (group.parts != nullptr) units_ = ranks_ * pieces_of(group.products[0].K);
    // The last warps of all blocks, of which the first ones may have a row of w more.
    const int place = (kOneRowWarps - 1 - static_cast<int>(threadIdx.x) / kWarp);
    first_unit_ = place * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
  }

  __device__ bool wanted() const { return ranks_ > 0; }

  /// Brings the pieces of a that this warp will sum nearer.
  __device__ void prefetch() const {
    for_each_unit([&](int, int, const char* a, int element_size, int count) {
      const int line = static_cast<int>(threadIdx.x) % kWarp * 128;
      if (line < count * element_size) hopper::prefetch(a + line);
    });
  }

  /// Sums them with x, and says so.
  __device__ void make_parts(const X* x) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    int made = 0;
    for_each_unit([&](int unit, int piece, const char* a, int element_size, int count) {
      const X* const own_x = x + piece * kPieceOfA;
      // SAFETY: the dtype of a is f32 or that of x, and element_size its size.
      const float sum = element_size == sizeof(float)
                            ? sum_of_piece(reinterpret_cast<const float*>(a), own_x, count, lane)
                            : sum_of_piece(reinterpret_cast<const X*>(a), own_x, count, lane);
      if (lane == 0) group_.parts[unit] = sum;
      ++made;
    });
    if (made == 0 || lane != 0) return;
    __threadfence();
    atomicAdd(group_.counters, static_cast<unsigned>(made));
  }

  /// xa in shared memory, when all blocks have made their parts. All threads of the block call it and see it afterwards.
  __device__ void gather() const {
    constexpr int kGatheringWarp = kOneRowWarps / 2;
    if (static_cast<int>(threadIdx.x) / kWarp == kGatheringWarp) {
      const int lane = static_cast<int>(threadIdx.x) % kWarp;
      if (units_ > 0) wait_for_parts(lane);
      for (int rank = lane; rank < ranks_; rank += kWarp) {
        const RankOfA at(group_, rank);
        float* const xa = group_.products[at.product].xa + at.r;
        const float value = units_ > 0 ? sum_of_parts(rank) : *xa;
        xa_[rank] = value;
        if (units_ > 0 && blockIdx.x == 0) *xa = value;
      }
    }
    __syncthreads();
  }

 private:
  // f(unit, its piece, its address, size of an element, elements of it) for each that is this warp's.
  template <class F>
  __device__ __forceinline__ void for_each_unit(const F& f) const {
    for (int unit = first_unit_; unit < units_;
         unit += kOneRowWarps * static_cast<int>(gridDim.x)) {
      const int pieces = pieces_of(group_.products[0].K);
      const int piece = unit % pieces;
      const RankOfA at(group_, unit / pieces);
      const FewRows& product = group_.products[at.product];
      const int element_size = product.a_dtype == DType::kF32 ? 4 : 2;
      const std::int64_t first = at.r * product.K + piece * kPieceOfA;
      const int count = min(kPieceOfA, static_cast<int>(product.K) - piece * kPieceOfA);
      f(unit, piece, static_cast<const char*>(product.a) + first * element_size, element_size,
        count);
    }
  }

  __device__ void wait_for_parts(int lane) const {
    if (lane == 0) {
      unsigned arrived = 0;
      do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                     : "=r"(arrived)
                     : "l"(group_.counters)
                     : "memory");
      } while (arrived < static_cast<unsigned>(units_));
      // The last block to see it leaves zeros for the next kernel.
      if (atomicAdd(group_.counters + 1, 1U) == gridDim.x - 1) {
        group_.counters[0] = 0;
        group_.counters[1] = 0;
      }
    }
    __syncwarp();
  }

  __device__ float sum_of_parts(int rank) const {
    const int pieces = pieces_of(group_.products[0].K);
    const float* const parts = group_.parts + rank * pieces;
    float sum = 0;
#pragma unroll 8
    for (int i = 0; i < pieces; ++i) sum += __ldcg(parts + i);
    return sum;
  }

  const FewRowsGroup& group_;
  float* xa_;
  int ranks_ = 0;
  int units_ = 0;
  int first_unit_ = 0;
};

/// A row of w, of a warp.
template <class X>
struct OneRowEnd {
  FewRowsRow at;
  float b = 0;
  float bias = 0;

  /// Does not wait for what it loads.
  __device__ __forceinline__ OneRowEnd(const FewRowsGroup& group, std::int64_t row, int lane)
      : at(group, row) {
    const FewRows& a = group.products[at.product];
    if (lane < a.R) b = small_element<X>(a.b, a.b_dtype, at.n * a.R + lane);
    if (a.bias != nullptr) bias = small_element<X>(a.bias, a.out_dtype, at.n);
  }

  /// `sum` is that of a lane. Answers the result, rounded as it is stored, in every lane.
  __device__ __forceinline__ float finish(const FewRowsGroup& group, const float* xa, float sum,
                                          int lane) const {
    const FewRows& a = group.products[at.product];
    for (int i = 0; i < at.product; ++i) xa += group.products[i].R;
    if (lane < a.R) sum = fmaf(a.scale * b, xa[lane], sum);
    for (int r = lane + kWarp; r < a.R; r += kWarp) {
      sum = fmaf(a.scale * small_element<X>(a.b, a.b_dtype, at.n * a.R + r), xa[r], sum);
    }
    const float total = warp_reduce<Sum>(sum) + bias;
    if (lane == 0) store_small<X>(a.out, a.out_dtype, at.n, total);
    return to_float(from_float<X>(total));
  }
};

/// A lane's part of the next row with x.
template <class Cut, class W, class X, class Steps>
__device__ __forceinline__ float add_one_row(const X* x, int packs, Steps& steps, int lane) {
  constexpr int kVec = kPackSize<W>;
  constexpr int kChains = 4;
  float chains[kChains] = {};
#pragma unroll 1
  for (int first = lane; first - lane < packs; first += Cut::kStepPacks * kWarp) {
    const uint4* const slot = steps.take();
#pragma unroll
    for (int u = 0; u < Cut::kStepPacks; ++u) {
      const int pack = first + u * kWarp;
      if (pack >= packs) continue;
      const auto w = __builtin_bit_cast(Pack<W, kVec>, slot[u * Cut::kThreads]);
      const auto own = load_floats<kVec>(x + pack * kVec);
#pragma unroll
      for (int v = 0; v < kVec; ++v) {
        float& sum = chains[v % kChains];
        sum = fmaf(own.values[v], to_float(w.values[v]), sum);
      }
    }
  }
  return (chains[0] + chains[1]) + (chains[2] + chains[3]);
}

/// What a warp makes at a time: a row of w, or the same one of the first two products and their swiglu.
template <class X, class W, class Rows, bool kSwiglu>
class OneRowTask {
 public:
  using Cut = OneRowCut<kHasLargeRing>;
  using Weights = OneRowWeights<W, Cut, Rows, kSwiglu>;
  using Steps = StepRing<Weights, Cut>;

  __device__ static int count(const FewRowsGroup& group) {
    return static_cast<int>(kSwiglu ? group.products[0].N : group.rows);
  }

  /// Does not wait for what it loads.
  __device__ __forceinline__ OneRowTask(const FewRowsGroup& group, std::int64_t row, int lane)
      : first_(group, row, lane), second_(group, row + (kSwiglu ? group.products[0].N : 0), lane) {}

  __device__ __forceinline__ void add(const X* x, int packs, Steps& steps, int lane) {
    first_sum_ = add_one_row<Cut, W>(x, packs, steps, lane);
    if constexpr (kSwiglu) second_sum_ = add_one_row<Cut, W>(x, packs, steps, lane);
  }

  __device__ __forceinline__ void finish(const FewRowsGroup& group, const float* xa,
                                         int lane) const {
    const float first = first_.finish(group, xa, first_sum_, lane);
    if constexpr (kSwiglu) {
      const float second = second_.finish(group, xa, second_sum_, lane);
      if (lane != 0) return;
      static_cast<X*>(group.swiglu)[first_.at.n] =
          from_float<X>(Silu::template value<X>(first) * second);
    }
  }

 private:
  struct Nothing {
    __device__ Nothing(const FewRowsGroup&, std::int64_t, int) {}
  };

  OneRowEnd<X> first_;
  std::conditional_t<kSwiglu, OneRowEnd<X>, Nothing> second_;
  float first_sum_ = 0;
  float second_sum_ = 0;
};

/// A task for a warp at a time.
template <class X, class W, class Rows, bool kSwiglu>
__global__ void __launch_bounds__(kOneRowThreads, 1)
    one_row_kernel(const __grid_constant__ FewRowsGroup group) {
  using Task = OneRowTask<X, W, Rows, kSwiglu>;
  using Cut = typename Task::Cut;
  extern __shared__ uint4 slots[];
  __shared__ float xa_room[kMostRanksOfOne];
  __shared__ typename Rows::Room rows_room;
  hopper::let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t K = group.products[0].K;
  const int packs = static_cast<int>(K / kPackSize<W>);
  const int count = Task::count(group);
  const SharedXa<X> shared_xa(group, xa_room);
  shared_xa.prefetch();
  Rows rows(group, count, rows_room);
  typename Task::Steps steps(typename Task::Weights(group, rows, count), slots);
  int row = rows.take();
  const bool any = row < count;
  Task first(group, any ? row : 0, lane);
  hopper::wait_for_previous();  // which makes x, or xa
  uint4* const x_packs = slots + Cut::kSteps * Cut::kStepBytes / 16;
  // SAFETY: x is made of 16 bytes and begins at a multiple of them: takes_few_rows().
  const auto* const given = static_cast<const uint4*>(group.products[0].x);
#pragma unroll 4
  for (int i = threadIdx.x; i < static_cast<int>(K) / kPackSize<X>; i += kOneRowThreads) {
    x_packs[i] = given[i];
  }
  __syncthreads();
  // SAFETY: a copy of x, aligned as that is.
  const X* const x = reinterpret_cast<const X*>(x_packs);
  shared_xa.make_parts(x);
  if (any) first.add(x, packs, steps, lane);
  if (shared_xa.wanted()) shared_xa.gather();
  if (any) first.finish(group, xa_room, lane);
  while (any) {
    row = rows.take();
    if (row >= count) break;
    Task task(group, row, lane);
    task.add(x, packs, steps, lane);
    task.finish(group, xa_room, lane);
  }
}

// ---- The host's side ----------------------------------------------------------------------------

/// Whether a row of x fits what the kernel above keeps of it, on every GPU.
inline bool suits_one_row(std::span<const FewRows> products) {
  const FewRows& a = products[0];
  constexpr std::int64_t kMostColumns = std::int64_t{1} << 30;
  std::int64_t ranks = 0;
  std::int64_t columns = 0;
  for (const FewRows& product : products) {
    ranks += product.R;
    columns += product.N;
  }
  return a.M == 1 && ranks <= kMostRanksOfOne && columns <= kMostColumns &&
         a.K * static_cast<std::int64_t>(size_of(a.x_dtype)) <= OneRowCut<false>::kXBytes;
}

/// Floats of a group's parts.
inline std::int64_t parts_of_one_row(std::span<const FewRows> products) {
  std::int64_t ranks = 0;
  for (const FewRows& product : products) ranks += product.R;
  return ranks * pieces_of(products[0].K);
}

template <class X, class W, bool kSwiglu>
void launch_one_row(Stream& stream, FewRowsGroup& group, std::int64_t tasks) {
  // With few rounds drawing costs more than it evens out. And as many tasks have a block on each multiprocessor, so that no
  // more than two such kernels are there at a time.
  constexpr std::int64_t kFewestRounds = 4;
  const std::int64_t warps =
      std::int64_t{kOneRowWarps} * backend_of_stream(stream).properties().multiProcessorCount;
  const auto launch = [&](auto kernel) {
    launch_few_rows_kernel<OneRowCut<true>, OneRowCut<false>>(stream, kernel, tasks, group);
  };
  group.counters = cuda_stream(stream).counters().pair();
  if (tasks < kFewestRounds * warps) return launch(&one_row_kernel<X, W, DealtRows, kSwiglu>);
  group.ticket = cuda_stream(stream).counters().ticket();
  launch(&one_row_kernel<X, W, DrawnRows, kSwiglu>);
}

template <class X, class W>
void launch_one_row(Stream& stream, FewRowsGroup& group) {
  if (group.swiglu == nullptr) return launch_one_row<X, W, false>(stream, group, group.rows);
  launch_one_row<X, W, true>(stream, group, group.products[0].N);
}

}  // namespace wick::cuda
