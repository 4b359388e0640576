#include "backends/cuda/few_rows.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "backends/cuda/few_rows_one.cuh"
#include "backends/cuda/few_rows_tensor.cuh"

namespace wick::cuda {

/// How a kernel is cut for rows of x in registers, kPacksOfRow packs of kVec elements of each. Each thread copies its packs of w
/// to shared memory for itself, a few steps ahead of its sums and on into its next rows: some 200 KiB of a multiprocessor are
/// on their way, where 64 hide the memory's latency. What comes in while the kernel before still runs need not be waited for.
template <int kM, int kPacksOfRow, int kVec, bool kLarge>
struct FewRowsCut {
  static constexpr int kThreads = kFewRowsThreads;
  static constexpr int kPacks = kPacksOfRow;
  static constexpr int kRegisters = kM * kPacks * kVec;
  // Of a multiprocessor: as many as its registers have room for, with what a pack takes beside its elements.
  static constexpr bool kThree = kRegisters <= 16;
  static constexpr bool kTwo = kRegisters <= 56;
  static constexpr int kBlocks = kThree ? 3 : kTwo ? 2 : 1;
  static constexpr int kStepPacks = kPacks < 4 ? kPacks : 4;
  static constexpr int kRingPacks = kLarge ? 54 : 18;  // of a thread, in shared memory
  static constexpr int kSteps = std::max(3, kRingPacks / kBlocks / kStepPacks);
  static constexpr int kStepBytes = kFewRowsThreads * kStepPacks * 16;
  static constexpr int kSharedBytes = kSteps * kStepBytes;
  static constexpr int kOnTheirWay = kSteps;
  // On their way while the kernel before still runs: as much as memory needs to be busy. With more its loads would queue.
  static constexpr int kFirstSteps = std::max(1, 32768 / (kBlocks * kStepBytes));
};

namespace {

constexpr int kMostRows = 8;
constexpr std::int64_t kMostColumns = std::int64_t{1} << 30;
constexpr int kRowsOfChunk = 8;  // rows of a team between two meetings of the block
constexpr int kTogether = 4;     // rows whose sums are added up over a warp at the same time
static_assert(kRowsOfChunk % kTogether == 0);

constexpr int kThreads = kFewRowsThreads;
constexpr int kWarps = kFewRowsWarps;

// Packs of a row of x that a thread keeps in registers, as f32, for all rows of w.
constexpr std::array kPackCounts{1, 2, 4, 6, 8, 10, 24, 48};
constexpr int kFewestOfLongRow = 24;

// How many of each of M rows of x there may be, vec elements to a pack.
constexpr int most_packs(int M, int vec) { return 192 / (M * vec); }

// A thread's part of x: in each row every `width`-th pack from `begin` on. Rows beyond the last are copies of it.
template <int kM, int kPacks, int kVec>
struct OwnX {
  float values[kM][kPacks][kVec];
  int count;  // of a row

  template <class X>
  __device__ OwnX(const X* x, int M, std::int64_t K, int begin, int width)
      : count(static_cast<int>((K / kVec - begin + width - 1) / width)) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        if (i < count) load_pack(x + min(m, M - 1) * K + (begin + i * width) * kVec, values[m][i]);
      }
    }
  }
};

// sums[m] += this thread's terms of a row of w with those of x's rows.
template <class Cut, class W, int kVec, int kM, int kPacks>
__device__ __forceinline__ void add_row(const OwnX<kM, kPacks, kVec>& x, int steps_of_row,
                                        WeightSteps<W, Cut>& steps, float (&sums)[kM]) {
  constexpr int kChains = kM == 1 ? 4 : 1;  // which need not wait for one another
  float chains[kM][kChains] = {};
#pragma unroll
  for (int first = 0; first < kPacks; first += Cut::kStepPacks) {
    if (first / Cut::kStepPacks >= steps_of_row) break;
    const uint4* const slot = steps.take();
#pragma unroll
    for (int u = 0; u < Cut::kStepPacks; ++u) {
      const int i = first + u;
      if (i >= kPacks || i >= x.count) continue;
      const auto w = __builtin_bit_cast(Pack<W, kVec>, slot[u * kThreads]);
#pragma unroll
      for (int v = 0; v < kVec; ++v) {
        const float value = to_float(w.values[v]);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          float& sum = chains[m][v % kChains];
          sum = fmaf(x.values[m][i][v], value, sum);
        }
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int c = 0; c < kChains; ++c) sums[m] += chains[m][c];
  }
}

// The sums over a warp of four values each: that of value i is in lanes 8 i to 8 i + 7.
__device__ __forceinline__ float reduce_four(const float (&values)[kTogether], int lane) {
  static_assert(kTogether == 4 && kWarp == 32);
  const bool upper = lane >= 16;
  float two[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float given = upper ? values[i] : values[i + 2];
    two[i] = (upper ? values[i + 2] : values[i]) + __shfl_xor_sync(kAllLanes, given, 16);
  }
  const bool odd = lane % 16 >= 8;
  const float given = odd ? two[0] : two[1];
  float sum = (odd ? two[1] : two[0]) + __shfl_xor_sync(kAllLanes, given, 8);
#pragma unroll
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  return sum;
}

// What a warp adds to the sums of a row: the adapter's share, of which a lane has the first of its ranks at hand, and the
// bias.
template <class X, int kM>
struct RowEnd {
  FewRowsRow at;
  float b = 0;
  float xa[kM] = {};
  float bias = 0;

  __device__ __forceinline__ RowEnd(const FewRowsGroup& group, std::int64_t row) : at(group, row) {}

  // Neither waits for what it loads.
  __device__ __forceinline__ void load_constants(const FewRowsGroup& group, int lane) {
    const FewRows& a = group.products[at.product];
    if (lane < a.R) b = small_element<X>(a.b, a.b_dtype, at.n * a.R + lane);
    if (a.bias != nullptr) bias = small_element<X>(a.bias, a.out_dtype, at.n);
  }
  __device__ __forceinline__ void load_xa(const FewRowsGroup& group, int lane) {
    const FewRows& a = group.products[at.product];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      if (lane < a.R && m < a.M) xa[m] = a.xa[m * a.R + lane];
    }
  }

  // `sums` are those of the team's warps, whose row c it is.
  __device__ __forceinline__ void finish(const FewRowsGroup& group,
                                         const float (*sums)[kRowsOfChunk][kM], int c, int lane) {
    const FewRows& a = group.products[at.product];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      if (m >= a.M) break;
      float value = a.scale * b * xa[m];
      for (int r = lane + kWarp; r < a.R; r += kWarp) {
        value += a.scale * small_element<X>(a.b, a.b_dtype, at.n * a.R + r) * a.xa[m * a.R + r];
      }
      if (lane < group.team) value += sums[lane][c][m];
      const float total = warp_reduce<Sum>(value);
      if (lane == 0) store_small<X>(a.out, a.out_dtype, m * a.N + at.n, total + bias);
    }
  }
};

// A warp's sums of the next kRowsOfChunk rows of its team, from `row` on, as far as there are.
template <class Cut, class W, int kVec, int kM, int kPacks>
__device__ __forceinline__ void add_chunk(const OwnX<kM, kPacks, kVec>& x, int steps_of_row,
                                          WeightSteps<W, Cut>& steps, std::int64_t row,
                                          int row_step, std::int64_t rows,
                                          float (&sums_of_warp)[kRowsOfChunk][kM]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int c = 0; c < kRowsOfChunk; c += kTogether) {
    float sums[kM][kTogether] = {};
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (row + (c + i) * std::int64_t{row_step} >= rows) break;
      float sums_of_row[kM] = {};
      add_row<Cut>(x, steps_of_row, steps, sums_of_row);
#pragma unroll
      for (int m = 0; m < kM; ++m) sums[m][i] = sums_of_row[m];
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      const float total = reduce_four(sums[m], lane);
      if (lane % 8 == 0) sums_of_warp[c + lane / 8][m] = total;
    }
  }
}

// A row of w for a team of warps at a time; each team has several, a grid apart.
template <class X, class W, int kM, int kPacks>
__global__ void __launch_bounds__(kThreads, FewRowsCut<kM, kPacks, kPackSize<W>, true>::kBlocks)
    few_rows_kernel(const __grid_constant__ FewRowsGroup group) {
  constexpr int kVec = kPackSize<W>;
  using Cut = FewRowsCut<kM, kPacks, kVec, kHasLargeRing>;
  extern __shared__ uint4 slots[];
  __shared__ float sums_of_warps[2][kWarps][kRowsOfChunk][kM];
  hopper::let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int team = warp / group.team;
  const int begin = warp % group.team * kWarp + lane;
  const int width = group.team * kWarp;
  const std::int64_t K = group.products[0].K;
  const int M = static_cast<int>(group.products[0].M);
  const int packs = static_cast<int>(K / kVec);
  const int steps_of_row = (packs + Cut::kStepPacks * width - 1) / (Cut::kStepPacks * width);
  // Neighbours in a multiprocessor's teams are a grid apart, so that what remains at the end spreads over all of them.
  const int apart = static_cast<int>(gridDim.x);
  const int row_step = kWarps / group.team * apart;
  const std::int64_t first_row = blockIdx.x + std::int64_t{team} * apart;
  WeightSteps<W, Cut> steps({group, first_row, row_step, begin, width}, slots);
  const int own = kRowsOfChunk / group.team;  // rows of a chunk that a warp finishes
  const int first_own = warp * own;
  const auto row_of = [&](std::int64_t done, int i) {
    return blockIdx.x + done + i / kRowsOfChunk * apart + i % kRowsOfChunk * std::int64_t{row_step};
  };
  const auto end_of = [&](std::int64_t done) {
    const std::int64_t row = row_of(done, first_own);
    RowEnd<X, kM> end(group, row < group.rows ? row : 0);
    end.load_constants(group, lane);
    return end;
  };
  RowEnd<X, kM> end = end_of(0);
  hopper::wait_for_previous();  // which makes x, or xa
  const OwnX<kM, kPacks, kVec> x(static_cast<const X*>(group.products[0].x), M, K, begin, width);
  int turn = 0;
  for (std::int64_t done = 0; blockIdx.x + done < group.rows;
       done += std::int64_t{kRowsOfChunk} * row_step, turn ^= 1) {
    const auto finish = [&](RowEnd<X, kM>& row_end, int i) {
      row_end.finish(group, &sums_of_warps[turn][i / kRowsOfChunk * group.team], i % kRowsOfChunk,
                     lane);
    };
    end.load_xa(group, lane);
    add_chunk<Cut>(x, steps_of_row, steps, first_row + done, row_step, group.rows,
                   sums_of_warps[turn][warp]);
    __syncthreads();
    if (row_of(done, first_own) < group.rows) finish(end, first_own);
    for (int i = first_own + 1; i < first_own + own; ++i) {
      if (row_of(done, i) >= group.rows) continue;
      RowEnd<X, kM> other(group, row_of(done, i));
      other.load_constants(group, lane);
      other.load_xa(group, lane);
      finish(other, i);
    }
    end = end_of(done + std::int64_t{kRowsOfChunk} * row_step);
  }
}

// ---- Launches -----------------------------------------------------------------------------------

template <class X, class W, int kM, int kPacks>
void launch_kernel(Stream& stream, const FewRowsGroup& group) {
  constexpr int kVec = kPackSize<W>;
  launch_few_rows_kernel<FewRowsCut<kM, kPacks, kVec, true>, FewRowsCut<kM, kPacks, kVec, false>>(
      stream, &few_rows_kernel<X, W, kM, kPacks>, group.rows, group);
}

// Of 16 bytes, in a row of w.
std::int64_t packs_of(const FewRows& a) {
  return a.K * static_cast<std::int64_t>(size_of(a.w_dtype)) / 16;
}

// Packs of a row for each thread of a team.
std::int64_t packs_of(const FewRows& a, int team) {
  return ceil_div(packs_of(a), std::int64_t{team} * kWarp);
}

// Warps that share a row. Small teams add up less often; where they would have few rows, larger ones share them more evenly
// and sooner.
int team_for(Stream& stream, const FewRowsGroup& group, int most) {
  const int enough = std::min(8, most);
  const std::int64_t blocks = 2 * backend_of_stream(stream).properties().multiProcessorCount;
  int team = 1;
  while (team < kWarps && (packs_of(group.products[0], team) > enough ||
                           group.rows < blocks * (kWarps / team) * kRowsOfChunk)) {
    team *= 2;
  }
  return team;
}

// Calls f(count) for the first of the counts of packs that is enough and fits for kM rows; false: none does.
template <int kM, int kVec, class F>
bool with_packs(std::int64_t packs, const F& f) {
  bool found = false;
  const auto try_one = [&]<int kPacks>(std::integral_constant<int, kPacks> count) {
    // Shorter single rows have a kernel of their own.
    constexpr int kFewest = kM == 1 ? kFewestOfLongRow : 1;
    if constexpr (kPacks <= most_packs(kM, kVec) && kPacks >= kFewest) {
      if (found || packs > kPacks) return;
      found = true;
      f(count);
    }
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) {
    (try_one(std::integral_constant<int, kPackCounts[i]>{}), ...);
  }(std::make_index_sequence<kPackCounts.size()>{});
  return found;
}

template <class X, class W, int kM>
void launch_few_rows(Stream& stream, FewRowsGroup& group) {
  constexpr int kVec = kPackSize<W>;
  group.team = team_for(stream, group, most_packs(kM, kVec));
  const bool found = with_packs<kM, kVec>(packs_of(group.products[0], group.team),
                                          [&]<int kPacks>(std::integral_constant<int, kPacks>) {
                                            launch_kernel<X, W, kM, kPacks>(stream, group);
                                          });
  detail::check(found, "few rows whose packs no kernel holds");
}

// Whether there is a kernel for so many rows at a time.
bool holds(const FewRows& a, std::int64_t rows) {
  const int most = most_packs(static_cast<int>(rows), 16 / static_cast<int>(size_of(a.w_dtype)));
  return std::ranges::any_of(
      kPackCounts, [&](int count) { return count <= most && packs_of(a, kWarps) <= count; });
}

std::int64_t rows_of(std::span<const FewRows> products) {
  std::int64_t rows = 0;
  for (const FewRows& product : products) rows += product.N;
  return rows;
}

// Rows m to m + M of x and of the results.
template <class X>
FewRowsGroup part_of(std::span<const FewRows> products, std::int64_t m, std::int64_t M) {
  FewRowsGroup group{.products = {}, .rows = rows_of(products), .team = 1};
  for (std::size_t i = 0; i < products.size(); ++i) {
    FewRows& part = group.products[i] = products[i];
    part.M = M;
    part.x = static_cast<const X*>(part.x) + m * part.K;
    part.xa = part.xa == nullptr ? nullptr : part.xa + m * part.R;
    part.out = static_cast<char*>(part.out) +
               m * part.N * static_cast<std::int64_t>(size_of(part.out_dtype));
  }
  return group;
}

// parts, swiglu: as in FewRowsGroup.
template <class X, class W>
void switch_rows(Stream& stream, std::span<const FewRows> products, float* parts, void* swiglu) {
  const std::int64_t M = products[0].M;
  if (suits_one_row(products)) {
    FewRowsGroup group = part_of<X>(products, 0, M);
    group.parts = parts;
    group.swiglu = swiglu;
    return launch_one_row<X, W>(stream, group);
  }
  if constexpr (sizeof(W) == 2) {
    if (suits_tensor_cores(products[0])) {
      FewRowsGroup group = part_of<X>(products, 0, M);
      return launch_few_rows_tensor<W>(stream, group);
    }
  }
  std::int64_t most = 4;  // at a time
  while (!holds(products[0], most)) most /= 2;
  for (std::int64_t m = 0; m < M; m += most) {
    const std::int64_t rows = std::min(most, M - m);
    FewRowsGroup group = part_of<X>(products, m, rows);
    if (rows > 2) {
      launch_few_rows<X, W, 4>(stream, group);
    } else if (rows == 2) {
      launch_few_rows<X, W, 2>(stream, group);
    } else {
      launch_few_rows<X, W, 1>(stream, group);
    }
  }
}

void run_group(Stream& stream, std::span<const FewRows> products, float* parts = nullptr,
               void* swiglu = nullptr) {
  const bool wide = products[0].w_dtype == DType::kF32;
  switch_floating(products[0].x_dtype, [&]<class X>(std::type_identity<X>) {
    if (wide) return switch_rows<X, float>(stream, products, parts, swiglu);
    switch_rows<X, X>(stream, products, parts, swiglu);
  });
}

// x aᵀ of a product whose xa is to be made.
FewRows thin_of(const FewRows& product) {
  return {.M = product.M,
          .N = product.R,
          .K = product.K,
          .x = product.x,
          .x_dtype = product.x_dtype,
          .w = product.a,
          .w_dtype = product.a_dtype,
          .out = product.xa};
}

bool makes_xa(const FewRows& product) { return product.a != nullptr && product.R > 0; }

bool are_alike(const FewRows& a, const FewRows& b) {
  return a.M == b.M && a.K == b.K && a.x == b.x && a.x_dtype == b.x_dtype &&
         a.w_dtype == b.w_dtype && a.out_dtype == b.out_dtype &&
         (!makes_xa(a) || !makes_xa(b) || a.a_dtype == b.a_dtype);
}

// One row, with all that is made of it in between.
bool runs_in_one_launch(std::span<const FewRows> products) {
  return suits_one_row(products) && std::ranges::all_of(products, [](const FewRows& product) {
           return product.R == 0 || makes_xa(product);
         });
}

void run_in_one_launch(Stream& stream, std::span<const FewRows> products, void* swiglu) {
  const std::int64_t count = parts_of_one_row(products);
  std::optional<Scratch> parts;
  if (count > 0) parts.emplace(stream, static_cast<std::size_t>(count) * sizeof(float));
  run_group(stream, products, parts ? parts->as<float>() : nullptr, swiglu);
}

}  // namespace

bool takes_few_rows(const FewRows& a) {
  const auto is_one_of_two = [&](DType dtype) {
    return dtype == DType::kF32 || dtype == a.x_dtype;
  };
  const bool whole_packs = a.K % 8 == 0 && is_aligned(a.w, 16) && is_aligned(a.x, 16);
  return a.M > 0 && a.M <= kMostRows && a.N > 0 && a.N <= kMostColumns && a.K > 0 && whole_packs &&
         holds(a, 1) && is_one_of_two(a.w_dtype) && is_one_of_two(a.out_dtype) &&
         is_one_of_two(a.b_dtype) && (!makes_xa(a) || takes_few_rows(thin_of(a)));
}

bool takes_few_rows(std::span<const FewRows> products) {
  return !products.empty() && products.size() <= kMostFewRows &&
         std::ranges::all_of(products, [&](const FewRows& product) {
           return takes_few_rows(product) && are_alike(products[0], product);
         });
}

// Rows of w too long for the tensor cores' kernel: beyond two rows of x cuBLASLt keeps up with memory where sums of single
// threads do not, as soon as weights are larger than what its launch takes. On an H100, 3584 columns of 18944 in bf16 take
// 117 us for four rows and 232 for eight, by cuBLASLt 54 and 55; with an adapter of rank 16 145 and 288, by cuBLASLt and the
// adapter's products 70 and 71.
bool is_better_by_cublaslt(const FewRows& a) {
  constexpr std::int64_t kRows = 2;
  constexpr std::int64_t kElements = 5'000'000;
  return a.M > kRows && size_of(a.w_dtype) == 2 && a.N * a.K > kElements && !suits_tensor_cores(a);
}

KernelStatus multiply_few_rows(Stream& stream, const FewRows& product) {
  return multiply_few_rows(stream, std::span(&product, 1));
}

KernelStatus multiply_few_rows(Stream& stream, std::span<const FewRows> products) {
  if (!takes_few_rows(products)) {
    return KernelStatus::unsupported("not a few rows of 16-byte packs");
  }
  if (runs_in_one_launch(products)) {
    run_in_one_launch(stream, products, nullptr);
    return KernelStatus::ok();
  }
  std::array<FewRows, kMostFewRows> thin;
  std::size_t count = 0;
  for (const FewRows& product : products) {
    if (makes_xa(product)) thin[count++] = thin_of(product);
  }
  if (count > 0) run_group(stream, std::span(thin).first(count));
  run_group(stream, products);
  return KernelStatus::ok();
}

KernelStatus multiply_one_row_swiglu(Stream& stream, std::span<const FewRows> products, void* h) {
  const bool alike = products.size() == 2 && products[0].N == products[1].N &&
                     products[0].out_dtype == products[0].x_dtype;
  if (!alike || !takes_few_rows(products) || !runs_in_one_launch(products)) {
    return KernelStatus::unsupported("not one row by two matrices alike");
  }
  run_in_one_launch(stream, products, h);
  return KernelStatus::ok();
}

}  // namespace wick::cuda
