#include "backends/cuda/thin_products.hpp"

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
// complete, as do the sums over columns of all its rows.

struct ThinCall {
  ThinProducts products;
  int tiles_per_block;
  float* p_parts;  // [blocks along columns, M, R8]
  float* d_parts;  // [blocks along rows, C, R8]
};

// t [R8, kColumns] of a tile, rounded: fetched into registers early, stored when its place is free.
template <class T, int kR8>
struct SmallTile {
  static constexpr int kPadded = kColumns + 8;  // rows begin in different banks
  static constexpr int kPerThread = kR8 * 8 * kColumns / kThreads;

  T values[kPerThread];

  __device__ __forceinline__ static void place(const Matrix& t, int i, int& r, int& c) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const bool along_rank = t.column_stride == 1;
    r = along_rank ? index % (kR8 * 8) : index / kColumns;
    c = along_rank ? index / (kR8 * 8) : index % kColumns;
  }
  __device__ __forceinline__ void fetch(const ThinProducts& a, std::int64_t first_column) {
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      int r, c;
      place(a.t, i, r, c);
      const bool exists = r < a.R && first_column + c < a.C;
      values[i] = exists ? small_element<T>(a.t, first_column + c, r) : from_float<T>(0);
    }
  }
  __device__ __forceinline__ void store(const ThinProducts& a, T* tile) const {
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      int r, c;
      place(a.t, i, r, c);
      tile[r * kPadded + c] = values[i];
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

template <class T, int kR8, bool kWantsP, bool kWantsD, int kGroups>
__global__ void __launch_bounds__(kThreads) thin_kernel(ThinCall call) {
  using Shared = ThinShared<T, kR8, kWantsP, kWantsD, kGroups>;
  constexpr int kPadded = SmallTile<T, kR8>::kPadded;
  extern __shared__ __align__(128) unsigned char shared[];
  const ThinProducts& a = call.products;
  // SAFETY: the parts of the block's own memory, aligned to 16 bytes.
  T* const small = reinterpret_cast<T*>(shared + kStages * kTileBytes);
  T* const g_tile = small + Shared::kSmall;
  const T* const x = static_cast<const T*>(a.x);
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const std::int64_t first_row = std::int64_t{blockIdx.x} * Shared::kBlockRows;
  const std::int64_t all_tiles = (a.C + kColumns - 1) / kColumns;
  const std::int64_t first_tile = std::int64_t{blockIdx.y} * call.tiles_per_block;
  const int tiles =
      static_cast<int>(min(std::int64_t{call.tiles_per_block}, all_tiles - first_tile));
  const int steps = tiles * kGroups;

  const auto stage = [&](int step) {
    return SharedTile<kColumns>{shared_address(shared + step % kStages * kTileBytes)};
  };
  const auto fetch_x = [&](int step) {
    if (step < steps) {
      const std::int64_t row0 = first_row + step % kGroups * kRows;
      const std::int64_t column0 = (first_tile + step / kGroups) * kColumns;
      const SharedTile<kColumns> tile = stage(step);
      constexpr int kChunks = kColumns / kChunk;
      const int chunk = threadIdx.x % kChunks;
      const std::int64_t column = column0 + chunk * kChunk;
#pragma unroll
      for (int i = 0; i < kRows; i += kThreads / kChunks) {
        const int row = i + static_cast<int>(threadIdx.x) / kChunks;
        const bool exists = row0 + row < a.M && column < a.C;
        copy_async(tile.at(row, chunk), exists ? x + (row0 + row) * a.C + column : x, exists);
      }
    }
    commit_copies();
  };

#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) fetch_x(step);
  SmallTile<T, kR8> next_t;
  if constexpr (kWantsP) {
    next_t.fetch(a, first_tile * kColumns);
    next_t.store(a, small);
  }
  if constexpr (kWantsD) {
    for (int i = threadIdx.x; i < kR8 * 8 * Shared::kBlockRows; i += kThreads) {
      const int r = i % (kR8 * 8);
      const int row = i / (kR8 * 8);
      const bool exists = r < a.R && first_row + row < a.M;
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
        if (group == 0 && tile + 1 < tiles) next_t.fetch(a, (first_tile + tile + 1) * kColumns);
      }
      const SharedTile<kColumns> x_tile = stage(step);
      if constexpr (kWantsP) {  // rows 16 (warp % 4), one half of the columns
        const T* const t = small + tile % 2 * (kR8 * 8 * kPadded);
        const int half_columns = warp / 4 * (kColumns / 2);
#pragma unroll
        for (int k = 0; k < kColumns / 2; k += 16) {
          unsigned left[4];
          load_matrices(left, x_tile.at(warp % 4 * 16 + lane % 16,
                                        (half_columns + k) / kChunk + lane / 16));
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
      if (tile + 1 < tiles) next_t.store(a, small + (tile + 1) % 2 * (kR8 * 8 * kPadded));
    }
    if constexpr (kWantsD) {
      const std::int64_t column = (first_tile + tile) * kColumns + warp * 16 + lane / 4;
#pragma unroll
      for (int n = 0; n < kR8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (column + 8 * i >= a.C) continue;
          float* const part = call.d_parts +
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
    if (warp >= kWarps / 2) return;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
#pragma unroll
      for (int n = 0; n < kR8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const std::int64_t row = first_row + group * kRows + warp * 16 + lane / 4 + 8 * i;
          if (row >= a.M) continue;
          const float pair[2] = {p_sums[group][n][2 * i] + meeting[slot(group, n, 2 * i)],
                                 p_sums[group][n][2 * i + 1] + meeting[slot(group, n, 2 * i + 1)]};
          store_pack<2>(call.p_parts + (std::int64_t{blockIdx.y} * a.M + row) * (kR8 * 8) + n * 8 +
                            lane % 4 * 2,
                        pair);
        }
      }
    }
  }
}

// p [M,R] from its parts.
template <class T>
__global__ void finish_p_kernel(ThinProducts a, int parts, int padded_rank, const float* from) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t row = i / padded_rank;
  const std::int64_t r = i % padded_rank;
  if (row >= a.M || r >= a.R) return;
  float total = 0;
  for (int part = 0; part < parts; ++part) total += from[part * a.M * padded_rank + i];
  if (a.p_f32 != nullptr) a.p_f32[row * a.R + r] = total;
  if (a.p != nullptr) static_cast<T*>(a.p)[row * a.R + r] = from_float<T>(total * a.p_factor);
}

// d [C,R] from its parts.
template <class T>
__global__ void finish_d_kernel(ThinProducts a, int parts, int padded_rank, const float* from) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t c = i / padded_rank;
  const std::int64_t r = i % padded_rank;
  if (c >= a.C || r >= a.R) return;
  float total = 0;
  for (int part = 0; part < parts; ++part) total += from[part * a.C * padded_rank + i];
  const std::int64_t at = c * a.d.row_stride + r * a.d.column_stride;
  if (a.d.dtype == DType::kF32) {
    static_cast<float*>(a.d.data)[at] = total * a.scale;
  } else {
    static_cast<T*>(a.d.data)[at] = from_float<T>(total * a.scale);
  }
}

template <class T, int kR8, bool kWantsP, bool kWantsD, int kGroups>
void run_thin(Stream& stream, const ThinProducts& a) {
  using Shared = ThinShared<T, kR8, kWantsP, kWantsD, kGroups>;
  constexpr int kPaddedRank = kR8 * 8;
  const std::int64_t row_blocks = ceil_div(a.M, Shared::kBlockRows);
  const std::int64_t tiles = ceil_div(a.C, kColumns);
  const std::int64_t wanted =
      std::int64_t{2} * backend_of_stream(stream).properties().multiProcessorCount;
  const std::int64_t per_block =
      ceil_div(tiles, std::clamp<std::int64_t>(wanted / row_blocks, 1, tiles));
  const std::int64_t column_blocks = ceil_div(tiles, per_block);

  const auto parts = [&](bool wanted_here, std::int64_t count, std::int64_t length) {
    return wanted_here ? static_cast<std::size_t>(count * length * kPaddedRank) * sizeof(float) : 0;
  };
  const Scratch p_parts(stream, parts(kWantsP, column_blocks, a.M));
  const Scratch d_parts(stream, parts(kWantsD, row_blocks, a.C));
  const auto kernel = &thin_kernel<T, kR8, kWantsP, kWantsD, kGroups>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shared::kBytes),
        "cudaFuncSetAttribute");
  launch_on(stream, kernel,
            dim3(static_cast<unsigned>(row_blocks), static_cast<unsigned>(column_blocks)), kThreads,
            Shared::kBytes,
            ThinCall{.products = a,
                     .tiles_per_block = static_cast<int>(per_block),
                     .p_parts = p_parts.as<float>(),
                     .d_parts = d_parts.as<float>()});
  const auto blocks = [](std::int64_t length) {
    return static_cast<unsigned>(ceil_div(length * kPaddedRank, kThreads));
  };
  if constexpr (kWantsP) {
    launch_on(stream, &finish_p_kernel<T>, blocks(a.M), kThreads, 0, a,
              static_cast<int>(column_blocks), kPaddedRank,
              static_cast<const float*>(p_parts.as<float>()));
  }
  if constexpr (kWantsD) {
    launch_on(stream, &finish_d_kernel<T>, blocks(a.C), kThreads, 0, a,
              static_cast<int>(row_blocks), kPaddedRank,
              static_cast<const float*>(d_parts.as<float>()));
  }
}

// Sums over rows want many rows a block, since each block writes its own; sums over columns take registers for
// every row.
template <class T, int kR8>
void run_thin(Stream& stream, const ThinProducts& a) {
  const bool wants_p = a.t.data != nullptr;
  const bool wants_d = a.g.data != nullptr;
  if (wants_p && wants_d) {
    run_thin<T, kR8, true, true, kR8 == 4 ? 2 : 4>(stream, a);
  } else if (wants_p) {
    run_thin<T, kR8, true, false, 1>(stream, a);
  } else if (wants_d) {
    run_thin<T, kR8, false, true, 4>(stream, a);
  }
}

// f(the smallest number of eights that hold the rank).
template <class F>
void switch_rank(std::int64_t rank, const F& f) {
  if (rank <= 8) return f(std::integral_constant<int, 1>());
  if (rank <= 16) return f(std::integral_constant<int, 2>());
  if (rank <= 32) return f(std::integral_constant<int, 4>());
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

KernelStatus multiply_thin(Stream& stream, const ThinProducts& a) {
  if (const std::string reason = refusal(a.dtype, a.x, a.M, a.C, a.R); !reason.empty()) {
    return KernelStatus::unsupported(reason);
  }
  switch_16_bits(a.dtype, [&]<class T>(std::type_identity<T>) {
    switch_rank(a.R, [&]<int kR8>(std::integral_constant<int, kR8>) { run_thin<T, kR8>(stream, a); });
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
