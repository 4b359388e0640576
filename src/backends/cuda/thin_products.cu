#include "backends/cuda/thin_products.hpp"

#include <algorithm>
#include <utility>

#include "backends/cuda/hopper_order.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/tensor_cores.cuh"

namespace wick::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRows = 64;      // of a tile of x
constexpr int kColumns = 128;  // of a tile of x
constexpr int kStages = 4;     // tiles of x on their way or in use
constexpr int kTileBytes = kRows * kColumns * 2;
constexpr int kMostRank = 64;
constexpr std::int64_t kBlocksAtOnce = 2;  // of a multiprocessor

// An element of a small operand as a 16-bit number.
template <class T>
__device__ T small_element(const Matrix& m, std::int64_t row, std::int64_t column) {
  const std::int64_t at = row * m.row_stride + column * m.column_stride;
  if (m.dtype == DType::kF32) return from_float<T>(static_cast<const float*>(m.data)[at]);
  return static_cast<const T*>(m.data)[at];
}

// ---- p = x t and d = xᵀ g -----------------------------------------------------------------------
// A block has kGroups · kRows rows of x and some tiles of its columns. It goes through these column by column,
// and in each from row to row: so the sums over rows of a tile's columns stay in registers until they are
// complete, as do the sums over columns of all its rows. Where several blocks share the columns of some rows, a second
// kernel adds up p.

struct ThinCall {
  ThinProducts products[kMostThin];
  float* p_parts[kMostThin];  // [blocks along columns, M, R8], null with one block
  float* d_parts[kMostThin];  // [blocks along rows, C, R8]
};

// t [R8, kColumns] of a tile, rounded: fetched into registers early, stored when its place is free. A thread's elements
// lie at equal distances, in memory and in the tile.
template <class T, int kR8>
struct SmallTile {
  static constexpr int kRank = kR8 * 8;
  static constexpr int kPadded = kColumns + 8;  // rows begin in different banks
  static constexpr int kPerThread = kRank * kColumns / kThreads;

  T values[kPerThread];
  std::int64_t from;       // the thread's first element in the tile that comes next
  std::int64_t from_step;  // to the thread's next element
  std::int64_t tile_step;  // to the same element of the next tile
  std::int64_t column;     // of the first element
  int to, to_step;         // in the tile
  int columns_step;        // of the thread's next element
  int valid;               // how many of the thread's elements have a rank below R

  __device__ __forceinline__ SmallTile(const ThinProducts& a, std::int64_t R,
                                       std::int64_t first_column) {
    const int thread = threadIdx.x;
    if (a.t.column_stride == 1) {  // along the rank
      const int r = thread % kRank;
      const int c = thread / kRank;
      from = (first_column + c) * a.t.row_stride + r;
      from_step = kThreads / kRank * a.t.row_stride;
      tile_step = kColumns * a.t.row_stride;
      column = first_column + c;
      columns_step = kThreads / kRank;
      to = r * kPadded + c;
      to_step = columns_step;
      valid = r < R ? kPerThread : 0;
    } else {  // along the columns
      const int r = thread / kColumns;
      const int c = thread % kColumns;
      constexpr int kRankStep = kThreads / kColumns;
      from = first_column + c + r * a.t.column_stride;
      from_step = kRankStep * a.t.column_stride;
      tile_step = kColumns;
      column = first_column + c;
      columns_step = 0;
      to = r * kPadded + c;
      to_step = kRankStep * kPadded;
      valid = R > r ? static_cast<int>((R - r + kRankStep - 1) / kRankStep) : 0;
    }
  }
  template <class Source>
  __device__ __forceinline__ void fetch_as(const ThinProducts& a) {
    const Source* const t = static_cast<const Source*>(a.t.data) + from;
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const bool exists = i < valid && column + i * columns_step < a.C;
      values[i] = exists ? from_float<T>(to_float(t[i * from_step])) : from_float<T>(0);
    }
  }
  __device__ __forceinline__ void fetch(const ThinProducts& a) {
    if (a.t.dtype == DType::kF32) {
      fetch_as<float>(a);
    } else {
      fetch_as<T>(a);
    }
    from += tile_step;
    column += kColumns;
  }
  __device__ __forceinline__ void store(T* tile) const {
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) tile[to + i * to_step] = values[i];
  }
};

// The tiles of x that a block goes through: a thread copies 16 bytes of every 16th row.
template <class T>
struct WideTiles {
  static constexpr int kChunks = kColumns / kChunk;
  static constexpr int kRowStep = kThreads / kChunks;

  const T* first;  // of the thread in the block's first tile
  std::int64_t C;
  std::int64_t column;  // of the thread in the first tile
  std::int64_t rows;    // that exist from the thread's first one on

  __device__ __forceinline__ WideTiles(const ThinProducts& a, std::int64_t first_row,
                                       std::int64_t first_column)
      : C(a.C) {
    const int row = static_cast<int>(threadIdx.x) / kChunks;
    column = first_column + static_cast<int>(threadIdx.x) % kChunks * kChunk;
    rows = a.M - first_row - row;
    first = static_cast<const T*>(a.x) + (first_row + row) * C + column;
  }
  __device__ __forceinline__ void fetch(const SharedTile<kColumns>& to, int tile, int group) const {
    const bool has_column = column + tile * kColumns < C;
    const T* const from = first + group * kRows * C + tile * kColumns;
    const int row = static_cast<int>(threadIdx.x) / kChunks;
    const int chunk = static_cast<int>(threadIdx.x) % kChunks;
#pragma unroll
    for (int i = 0; i < kRows; i += kRowStep) {
      const bool exists = has_column && group * kRows + i < rows;
      copy_async(to.at(row + i, chunk), exists ? from + i * C : first, exists);
    }
  }
};

template <class T, int kR8, bool kWantsP, bool kWantsD, int kGroups>
struct ThinShared {
  static constexpr int kBlockRows = kGroups * kRows;
  static constexpr int kPaddedRows = kBlockRows + 8;
  static constexpr int kSmall = kWantsP ? 2 * kR8 * 8 * SmallTile<T, kR8>::kPadded : 0;
  static constexpr int kG = kWantsD ? kR8 * 8 * kPaddedRows : 0;
  static constexpr int kBytes = kStages * kTileBytes + 2 * (kSmall + kG);
};

// Two neighbours of a row of a small tile in shared memory.
template <class T>
__device__ __forceinline__ unsigned pair_at(const T* tile, int index) {
  // SAFETY: index is even and tiles begin at multiples of 16 bytes.
  return *reinterpret_cast<const unsigned*>(tile + index);
}

// An element of p where it is asked for; r is below the number of ranks.
template <class T>
__device__ __forceinline__ void store_p(const ThinProducts& a, std::int64_t row, std::int64_t r,
                                        float sum) {
  if (a.p != nullptr) static_cast<T*>(a.p)[row * a.p_row_stride + r] = from_float<T>(sum);
  for (int i = 0; i < a.count; ++i) {
    const ThinRange& range = a.ranges[i];
    if (r < range.R) {
      if (range.p_f32 != nullptr) range.p_f32[row * range.R + r] = sum;
      return;
    }
    r -= range.R;
  }
}

__device__ __forceinline__ std::int64_t all_ranks(const ThinProducts& a) {
  std::int64_t sum = 0;
  for (int i = 0; i < a.count; ++i) sum += a.ranges[i].R;
  return sum;
}

template <class T, int kR8, bool kWantsP, bool kWantsD, int kGroups>
__global__ void __launch_bounds__(kThreads, kR8 <= 2 || !kWantsP || !kWantsD ? 2 : 1)
    thin_kernel(const __grid_constant__ ThinCall call) {
  using Shared = ThinShared<T, kR8, kWantsP, kWantsD, kGroups>;
  constexpr int kPadded = SmallTile<T, kR8>::kPadded;
  extern __shared__ __align__(128) unsigned char shared[];
  const ThinProducts& a = call.products[blockIdx.z];
  const std::int64_t R = all_ranks(a);
  // SAFETY: the parts of the block's own memory, aligned to 16 bytes.
  T* const small = reinterpret_cast<T*>(shared + kStages * kTileBytes);
  T* const g_tile = small + Shared::kSmall;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const std::int64_t first_row = std::int64_t{blockIdx.x} * Shared::kBlockRows;
  const std::int64_t all_tiles = (a.C + kColumns - 1) / kColumns;
  const std::int64_t per_block = (all_tiles + gridDim.y - 1) / gridDim.y;
  const std::int64_t first_tile = min(std::int64_t{blockIdx.y} * per_block, all_tiles);
  const int tiles = static_cast<int>(min(per_block, all_tiles - first_tile));
  const WideTiles<T> wide(a, first_row, first_tile * kColumns);
  const auto stage = [&](int step) {
    return SharedTile<kColumns>{shared_address(shared + step % kStages * kTileBytes)};
  };
  const auto fetch_x = [&](int step) {
    if (step < tiles * kGroups) wide.fetch(stage(step), step / kGroups, step % kGroups);
    commit_copies();
  };

#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) fetch_x(step);
  SmallTile<T, kR8> next_t(a, R, first_tile * kColumns);
  if constexpr (kWantsP) {
    next_t.fetch(a);
    next_t.store(small);
  }
  if constexpr (kWantsD) {
    constexpr int kRank = kR8 * 8;
    const int r = threadIdx.x % kRank;
    for (int row = threadIdx.x / kRank; row < Shared::kBlockRows; row += kThreads / kRank) {
      const bool exists = r < R && first_row + row < a.M;
      g_tile[r * Shared::kPaddedRows + row] =
          exists ? small_element<T>(a.g, first_row + row, r) : from_float<T>(0);
    }
  }

  float p_sums[kWantsP ? kGroups : 1][kR8][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    float d_sums[kR8][4] = {};
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const int step = tile * kGroups + group;
      wait_for_copies<kStages - 2>();
      __syncthreads();
      fetch_x(step + kStages - 1);
      if constexpr (kWantsP) {
        if (group == 0 && tile + 1 < tiles) next_t.fetch(a);
      }
      const SharedTile<kColumns> x_tile = stage(step);
      if constexpr (kWantsP) {  // rows 16 (warp % 4), one half of the columns
        const T* const t = small + tile % 2 * (kR8 * 8 * kPadded);
        const int half_columns = warp / 4 * (kColumns / 2);
#pragma unroll
        for (int k = 0; k < kColumns / 2; k += 16) {
          unsigned left[4];
          load_matrices(
              left, x_tile.at(warp % 4 * 16 + lane % 16, (half_columns + k) / kChunk + lane / 16));
#pragma unroll
          for (int n = 0; n < kR8; ++n) {
            const int at = (n * 8 + lane / 4) * kPadded + half_columns + k + lane % 4 * 2;
            mma<T>(p_sums[group][n], left, pair_at(t, at), pair_at(t, at + 8));
          }
        }
      }
      if constexpr (kWantsD) {  // columns 16 warp, all rows
#pragma unroll
        for (int m = 0; m < kRows; m += 16) {
          unsigned left[4];
          load_transposed_matrices(
              left, x_tile.at(m + lane / 16 * 8 + lane % 8, 2 * warp + lane / 8 % 2));
#pragma unroll
          for (int n = 0; n < kR8; ++n) {
            const int at =
                (n * 8 + lane / 4) * Shared::kPaddedRows + group * kRows + m + lane % 4 * 2;
            mma<T>(d_sums[n], left, pair_at(g_tile, at), pair_at(g_tile, at + 8));
          }
        }
      }
    }
    if constexpr (kWantsP) {
      if (tile + 1 < tiles) next_t.store(small + (tile + 1) % 2 * (kR8 * 8 * kPadded));
    }
    if constexpr (kWantsD) {
      const std::int64_t column = (first_tile + tile) * kColumns + warp * 16 + lane / 4;
#pragma unroll
      for (int n = 0; n < kR8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (column + 8 * i >= a.C) continue;
          float* const part = call.d_parts[blockIdx.z] +
                              (std::int64_t{blockIdx.x} * a.C + column + 8 * i) * (kR8 * 8) +
                              n * 8 + lane % 4 * 2;
          const float pair[2] = {d_sums[n][2 * i], d_sums[n][2 * i + 1]};
          store_pack<2>(part, pair);
        }
      }
    }
  }
  wait_for_copies<0>();
  if constexpr (kWantsP) {
    // The two halves of the columns meet in the memory of the tiles.
    // SAFETY: the block's own memory, which nothing else uses now.
    float* const meeting = reinterpret_cast<float*>(shared);
    static_assert(kWarps / 2 * kGroups * kR8 * 4 * kWarp * 4 <= kStages * kTileBytes);
    __syncthreads();
    const auto slot = [&](int group, int n, int i) {
      return (((warp % 4 * kGroups + group) * kR8 + n) * 4 + i) * kWarp + lane;
    };
    if (warp >= kWarps / 2) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
#pragma unroll
        for (int n = 0; n < kR8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) meeting[slot(group, n, i)] = p_sums[group][n][i];
        }
      }
    }
    __syncthreads();
    const bool has_sums = warp < kWarps / 2;
    if (has_sums) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
#pragma unroll
        for (int n = 0; n < kR8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) p_sums[group][n][i] += meeting[slot(group, n, i)];
        }
      }
    }
    constexpr int kRank = kR8 * 8;
    float* const parts = call.p_parts[blockIdx.z];
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
#pragma unroll
      for (int n = 0; n < kR8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (!has_sums) continue;
          const std::int64_t row = first_row + group * kRows + warp * 16 + lane / 4 + 8 * i;
          const int r = n * 8 + lane % 4 * 2;
          const float pair[2] = {p_sums[group][n][2 * i], p_sums[group][n][2 * i + 1]};
          if (row < a.M && parts != nullptr) {
            store_pack<2>(parts + (std::int64_t{blockIdx.y} * a.M + row) * kRank + r, pair);
          } else if (row < a.M) {
            if (r < R) store_p<T>(a, row, r, pair[0]);
            if (r + 1 < R) store_p<T>(a, row, r + 1, pair[1]);
          }
        }
      }
    }
  }
}

// p [M,R] from its parts.
template <class T>
__global__ void finish_p_kernel(const __grid_constant__ ThinCall call, int parts, int padded_rank) {
  const ThinProducts& a = call.products[blockIdx.y];
  const float* const from = call.p_parts[blockIdx.y];
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t row = i / padded_rank;
  const std::int64_t r = i % padded_rank;
  if (row >= a.M || r >= all_ranks(a)) return;
  float total = 0;
  for (int part = 0; part < parts; ++part) total += from[part * a.M * padded_rank + i];
  store_p<T>(a, row, r, total);
}

constexpr int kMostJobs = 6;

struct FinishCall {
  ThinSums::Job jobs[kMostJobs];
};

// d [C,R] from its parts.
template <class T>
__device__ __forceinline__ void finish_d(const ThinSums::Job& job) {
  const ThinProducts& a = job.products;
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t c = i / job.padded_rank;
  std::int64_t r = i % job.padded_rank;
  if (c >= a.C || r >= all_ranks(a)) return;
  float total = 0;
#pragma unroll 8
  for (int block = 0; block < job.blocks; ++block) {
    total += job.parts[block * a.C * job.padded_rank + i];
  }
  int at_range = 0;
  while (r >= a.ranges[at_range].R) r -= a.ranges[at_range++].R;
  const ThinRange& range = a.ranges[at_range];
  if (range.d.data == nullptr) return;
  const std::int64_t at = c * range.d.row_stride + r * range.d.column_stride;
  if (range.d.dtype == DType::kF32) {
    static_cast<float*>(range.d.data)[at] = total * range.scale;
  } else {
    static_cast<T*>(range.d.data)[at] = from_float<T>(total * range.scale);
  }
}

template <class T>
__global__ void finish_d_kernel(const __grid_constant__ FinishCall call) {
  finish_d<T>(call.jobs[blockIdx.y]);
  hopper::wait_for_previous();  // the kernel behind this one counts on that one too
}

std::size_t bytes_of_sums(std::int64_t count, std::int64_t length, int padded_rank) {
  return static_cast<std::size_t>(count * length * padded_rank) * sizeof(float);
}

// Blocks along the columns: about as many in all as run at once. Each has a tile at least of the widest product.
std::int64_t column_blocks(Stream& stream, std::int64_t row_blocks,
                           std::span<const ThinProducts> products) {
  std::int64_t widest = 1;
  for (const ThinProducts& a : products) widest = std::max(widest, ceil_div(a.C, kColumns));
  const std::int64_t at_once =
      kBlocksAtOnce * backend_of_stream(stream).properties().multiProcessorCount;
  return std::clamp<std::int64_t>(
      ceil_div(at_once, row_blocks * static_cast<std::int64_t>(products.size())), 1, widest);
}

template <class T, int kR8, bool kWantsP, bool kWantsD, int kGroups>
void run_thin(Stream& stream, std::span<const ThinProducts> products, ThinSums& sums) {
  using Shared = ThinShared<T, kR8, kWantsP, kWantsD, kGroups>;
  constexpr int kPaddedRank = kR8 * 8;
  const std::int64_t M = products.front().M;
  const std::int64_t row_blocks = ceil_div(M, Shared::kBlockRows);
  const std::int64_t across = column_blocks(stream, row_blocks, products);
  const bool p_in_parts = kWantsP && across > 1;

  ThinCall call{};
  std::vector<std::unique_ptr<Scratch>> p_memory;
  for (std::size_t i = 0; i < products.size(); ++i) {
    const ThinProducts& a = products[i];
    call.products[i] = a;
    if (p_in_parts) {
      p_memory.push_back(std::make_unique<Scratch>(stream, bytes_of_sums(across, M, kPaddedRank)));
      call.p_parts[i] = p_memory.back()->as<float>();
    }
    if constexpr (kWantsD) {
      auto memory = std::make_unique<Scratch>(stream, bytes_of_sums(row_blocks, a.C, kPaddedRank));
      call.d_parts[i] = memory->as<float>();
      sums.add({a, static_cast<int>(row_blocks), kPaddedRank, call.d_parts[i]}, std::move(memory));
    }
  }
  const auto kernel = &thin_kernel<T, kR8, kWantsP, kWantsD, kGroups>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shared::kBytes),
        "cudaFuncSetAttribute");
  const auto problems = static_cast<unsigned>(products.size());
  const dim3 grid(static_cast<unsigned>(row_blocks), static_cast<unsigned>(across), problems);
  launch_on(stream, kernel, grid, kThreads, Shared::kBytes, call);
  if (!p_in_parts) return;
  launch_on(stream, &finish_p_kernel<T>,
            dim3(static_cast<unsigned>(ceil_div(M * kPaddedRank, kThreads)), problems), kThreads, 0,
            call, static_cast<int>(across), kPaddedRank);
}

// Sums over rows want many rows a block, since each block writes its own; sums over columns take registers for
// every row.
template <class T, int kR8>
void run_thin(Stream& stream, std::span<const ThinProducts> products, ThinSums& sums) {
  const bool wants_p = products.front().t.data != nullptr;
  const bool wants_d = products.front().g.data != nullptr;
  if (wants_p && wants_d) {
    run_thin<T, kR8, true, true, (kR8 > 2 ? 2 : 4)>(stream, products, sums);
  } else if (wants_p) {
    run_thin<T, kR8, true, false, 1>(stream, products, sums);
  } else if (wants_d) {
    run_thin<T, kR8, false, true, 4>(stream, products, sums);
  }
}

// f(the smallest number of eights that hold the rank).
template <class F>
void switch_rank(std::int64_t rank, bool may_be_48, const F& f) {
  if (rank <= 8) return f(std::integral_constant<int, 1>());
  if (rank <= 16) return f(std::integral_constant<int, 2>());
  if (rank <= 32) return f(std::integral_constant<int, 4>());
  if (rank <= 48 && may_be_48) return f(std::integral_constant<int, 6>());
  f(std::integral_constant<int, 8>());
}

template <class F>
void switch_16_bits(DType dtype, const F& f) {
  if (dtype == DType::kF16) return f(std::type_identity<half>());
  f(std::type_identity<bfloat16>());
}

// Why a wide matrix [M,C] is not for these kernels; empty when it is.
std::string refusal(DType dtype, const void* data, std::int64_t M, std::int64_t C, std::int64_t R) {
  if (dtype != DType::kF16 && dtype != DType::kBF16) return "neither f16 nor bf16";
  if (M == 0 || C == 0 || R == 0) return "nothing to compute";
  if (R > kMostRank) return "a rank above 64";
  if (C % kChunk != 0 || !is_aligned(data, 16)) return "rows that are not made of 16 bytes";
  if (M > std::int64_t{1} << 30 || C > std::int64_t{1} << 22) return "too large";
  return {};
}

// ---- y += p s -----------------------------------------------------------------------------------

constexpr int kUpdateRows = 64;
constexpr int kUpdateColumns = 64;

// A block makes a tile of the update with its eight warps, 16 rows by 32 columns each, and adds it to y in
// whole packs.
template <class T, int kR16>
__global__ void __launch_bounds__(kThreads) update_kernel(ThinUpdate a) {
  constexpr int kPadded = kR16 * 16 + 8;
  constexpr int kPaddedSums = kUpdateColumns + 4;
  __shared__ __align__(16) T p_tile[kUpdateRows * kPadded];
  __shared__ __align__(16) T s_tile[kUpdateColumns * kPadded];
  __shared__ __align__(16) float sums[kUpdateRows * kPaddedSums];
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const std::int64_t row0 = std::int64_t{blockIdx.y} * kUpdateRows;
  const std::int64_t column0 = std::int64_t{blockIdx.x} * kUpdateColumns;
  for (int i = threadIdx.x; i < kUpdateRows * kR16 * 16; i += kThreads) {
    const int row = i / (kR16 * 16);
    const int r = i % (kR16 * 16);
    const bool exists = row0 + row < a.M && r < a.R;
    p_tile[row * kPadded + r] = exists ? small_element<T>(a.p, row0 + row, r) : from_float<T>(0);
  }
  const bool along_rank = a.s.row_stride == 1;
  for (int i = threadIdx.x; i < kUpdateColumns * kR16 * 16; i += kThreads) {
    const int column = along_rank ? i / (kR16 * 16) : i % kUpdateColumns;
    const int r = along_rank ? i % (kR16 * 16) : i / kUpdateColumns;
    const bool exists = column0 + column < a.N && r < a.R;
    s_tile[column * kPadded + r] =
        exists ? small_element<T>(a.s, r, column0 + column) : from_float<T>(0);
  }
  __syncthreads();
  const int my_row = warp % 4 * 16 + lane / 4;
  const int my_column = warp / 4 * 32;
  float tile[4][4] = {};
#pragma unroll
  for (int k = 0; k < kR16 * 16; k += 16) {
    const int at = my_row * kPadded + k + lane % 4 * 2;
    const unsigned left[4] = {pair_at(p_tile, at), pair_at(p_tile, at + 8 * kPadded),
                              pair_at(p_tile, at + 8), pair_at(p_tile, at + 8 * kPadded + 8)};
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int right = (my_column + n * 8 + lane / 4) * kPadded + k + lane % 4 * 2;
      mma<T>(tile[n], left, pair_at(s_tile, right), pair_at(s_tile, right + 8));
    }
  }
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int column = my_column + n * 8 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[(my_row + i / 2 * 8) * kPaddedSums + column + i % 2] = tile[n][i];
    }
  }
  __syncthreads();
  T* const y = static_cast<T*>(a.y);
#pragma unroll
  for (int i = threadIdx.x; i < kUpdateRows * kUpdateColumns / kChunk; i += kThreads) {
    const int row = i / (kUpdateColumns / kChunk);
    const int column = i % (kUpdateColumns / kChunk) * kChunk;
    if (row0 + row >= a.M || column0 + column >= a.N) continue;
    T* const target = y + (row0 + row) * a.N + column0 + column;
    float values[kChunk];
    load_pack<kChunk>(target, values);
#pragma unroll
    for (int k = 0; k < kChunk; ++k) values[k] += a.scale * sums[row * kPaddedSums + column + k];
    store_pack<kChunk>(target, values);
  }
}

}  // namespace

void ThinSums::finish(Stream& stream, bool early) {
  for (std::size_t first = 0; first < jobs_.size(); first += kMostJobs) {
    const std::size_t count = std::min<std::size_t>(kMostJobs, jobs_.size() - first);
    FinishCall call{};
    std::int64_t most = 0;
    for (std::size_t i = 0; i < count; ++i) {
      call.jobs[i] = jobs_[first + i];
      most = std::max(most, call.jobs[i].products.C * call.jobs[i].padded_rank);
    }
    const dim3 grid(static_cast<unsigned>(ceil_div(most, kThreads)), static_cast<unsigned>(count));
    switch_16_bits(call.jobs[0].products.dtype, [&]<class T>(std::type_identity<T>) {
      if (early && first == 0) {
        launch_early_on(stream, &finish_d_kernel<T>, grid, kThreads, 0, call);
      } else {
        launch_on(stream, &finish_d_kernel<T>, grid, kThreads, 0, call);
      }
    });
  }
  jobs_.clear();
  memory_.clear();
}

std::string thin_refusal(const ThinProducts& a) {
  if (a.t.data != nullptr && a.t.row_stride != 1 && a.t.column_stride != 1) {
    return "a small operand that is dense along neither axis";
  }
  return refusal(a.dtype, a.x, a.M, a.C, a.total_rank());
}

KernelStatus multiply_thin(Stream& stream, std::span<const ThinProducts> products, ThinSums& sums) {
  std::int64_t R = 0;
  bool along_rank = false;  // in steps of a power of two
  for (const ThinProducts& a : products) {
    if (const std::string reason = thin_refusal(a); !reason.empty()) {
      return KernelStatus::unsupported(reason);
    }
    R = std::max(R, a.total_rank());
    along_rank = along_rank || (a.t.data != nullptr && a.t.column_stride == 1);
  }
  switch_16_bits(products.front().dtype, [&]<class T>(std::type_identity<T>) {
    switch_rank(R, !along_rank, [&]<int kR8>(std::integral_constant<int, kR8>) {
      run_thin<T, kR8>(stream, products, sums);
    });
  });
  return KernelStatus::ok();
}

KernelStatus add_thin(Stream& stream, const ThinUpdate& a) {
  if (const std::string reason = refusal(a.dtype, a.y, a.M, a.N, a.R); !reason.empty()) {
    return KernelStatus::unsupported(reason);
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(a.N, kUpdateColumns)),
                  static_cast<unsigned>(ceil_div(a.M, kUpdateRows)));
  if (grid.y > 65535) return KernelStatus::unsupported("too many rows");
  switch_16_bits(a.dtype, [&]<class T>(std::type_identity<T>) {
    const auto kernel = a.R <= 16   ? &update_kernel<T, 1>
                        : a.R <= 32 ? &update_kernel<T, 2>
                                    : &update_kernel<T, 4>;
    launch_on(stream, kernel, grid, kThreads, 0, a);
  });
  return KernelStatus::ok();
}

}  // namespace wick::cuda
