#pragma once

#include <array>
#include <cstdint>

#include "backends/cuda/launch.cuh"

// Kernels over the rows of a matrix. A row goes to a group of threads: part of a warp where rows are short,
// else a block. A row that fits is read once, into registers; a longer one is read twice by a block, the
// second time mostly from L2. threadIdx.x counts the threads of a row, threadIdx.y the rows of a block.

namespace wick::cuda {

inline constexpr int kFewValues = 8;
inline constexpr int kLongRowThreads = 512;

/// The most threads of a row that is kept in registers: 32 values of f32 a thread need more than the 64 registers
/// that a block of 1024 leaves each.
template <class T>
inline constexpr int kRowThreads = sizeof(T) == sizeof(float) ? 512 : 1024;

template <int N>
using Int = std::integral_constant<int, N>;

// ---- Memory ------------------------------------------------------------------------------------

/// N elements as they lie in memory: 16 bytes, or one element. Words and not elements, each of which would take a
/// register of its own.
template <int N, class T>
struct Raw {
  static_assert(sizeof(T) * N == 16);
  std::uint32_t words[4];

  /// Element i, which is a constant where it matters.
  __device__ __forceinline__ float get(int i) const {
    if constexpr (std::is_same_v<T, float>) {
      return __uint_as_float(words[i]);
    } else if constexpr (std::is_same_v<T, bfloat16>) {  // the upper half of an f32
      return __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xFFFF0000U);
    } else {
      const std::uint32_t word = words[i / 2];
      return __half2float(
          __ushort_as_half(static_cast<unsigned short>(i % 2 == 0 ? word & 0xFFFFU : word >> 16)));
    }
  }
};

template <class T>
struct Raw<1, T> {
  T element;
  __device__ __forceinline__ float get(int) const { return to_float(element); }
};

/// x[0..N). 16 bytes leave no trace in L1, which is kept for what all rows share.
template <int N, class T>
__device__ __forceinline__ Raw<N, T> load_raw(const T* x) {
  Raw<N, T> raw;
  if constexpr (N == 1) {
    raw.element = *x;
  } else {
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(raw.words[0]), "=r"(raw.words[1]), "=r"(raw.words[2]), "=r"(raw.words[3])
                 : "l"(x));
  }
  return raw;
}

/// values[at..at+N) = the elements.
template <int N, class T, int kSize>
__device__ __forceinline__ void unpack(const Raw<N, T>& raw, float (&values)[kSize], int at = 0) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[at + i] = raw.get(i);
}

template <class T>
__device__ __forceinline__ void round_pair(float a, float b, T& first, T& second) {
  first = from_float<T>(a);
  second = from_float<T>(b);
}
template <>
__device__ __forceinline__ void round_pair(float a, float b, bfloat16& first, bfloat16& second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  first = pair.x;
  second = pair.y;
}
template <>
__device__ __forceinline__ void round_pair(float a, float b, half& first, half& second) {
  const __half2 pair = __floats2half2_rn(a, b);
  first = pair.x;
  second = pair.y;
}

/// x[0..N) = values[at..at+N), rounded; 16 bytes at most in one access.
template <int N, class T, int kSize>
__device__ __forceinline__ void store_values(T* x, const float (&values)[kSize], int at = 0) {
  if constexpr (N == 1) {
    *x = from_float<T>(values[at]);
  } else {
    constexpr int kStep = N < kPackSize<T> ? N : kPackSize<T>;
#pragma unroll
    for (int begin = 0; begin < N; begin += kStep) {
      Pack<T, kStep> pack;
#pragma unroll
      for (int i = 0; i < kStep; i += 2) {
        const int from = at + begin + i;
        round_pair(values[from], values[from + 1], pack.values[i], pack.values[i + 1]);
      }
      // SAFETY: callers' addresses are aligned to 16 bytes where N is not 1: rows_aligned().
      *reinterpret_cast<Pack<T, kStep>*>(x + begin) = pack;
    }
  }
}

/// A vector that all rows share, of the rows' dtype or f32. May be absent.
template <class T>
struct Shared {
  const T* own = nullptr;
  const float* single = nullptr;

  __device__ __forceinline__ bool given() const { return own != nullptr || single != nullptr; }
  bool aligned() const { return is_aligned(own, 16) && is_aligned(single, 16); }

  /// values[at..at+N) = the elements from `column` on.
  template <int N, int kSize>
  __device__ __forceinline__ void load(int column, float (&values)[kSize], int at = 0) const {
    if (single != nullptr) {
      constexpr int kStep = N < 4 ? N : 4;
#pragma unroll
      for (int i = 0; i < N; i += kStep) {
        float some[kStep];
        load_pack(single + column + i, some);
#pragma unroll
        for (int j = 0; j < kStep; ++j) values[at + i + j] = some[j];
      }
    } else {
      float some[N];
      load_pack(own + column, some);
#pragma unroll
      for (int i = 0; i < N; ++i) values[at + i] = some[i];
    }
  }
};

template <class T>
Shared<T> shared_of(const TensorView& view) {
  if (!view) return {};
  if (view.dtype == DType::kF32) return {.own = nullptr, .single = data_of<const float>(view)};
  return {.own = data_of<const T>(view), .single = nullptr};
}

// ---- Reductions over the threads of a row --------------------------------------------------------

struct RowSum {
  static __device__ __forceinline__ float neutral() { return 0; }
  static __device__ __forceinline__ float apply(float a, float b) { return a + b; }
};

/// As fmaxf, but NaN wins: it has to show.
struct RowMax {
  static __device__ __forceinline__ float neutral() { return -INFINITY; }
  static __device__ __forceinline__ float apply(float a, float b) {
    float larger;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
    return larger;
  }
};

/// Room for one row_reduce of N numbers.
template <int N>
using ReduceRoom = float[N][kWarp];

/// Reduces each of N numbers over the threads of a row, in all of them. All threads of the block call it. A
/// room may be used again when another reduction was in between.
template <class Op, int N>
__device__ __forceinline__ void row_reduce(float (&values)[N], ReduceRoom<N>& room) {
  const int width = static_cast<int>(blockDim.x);
  for (int step = (width < kWarp ? width : kWarp) / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      values[i] = Op::apply(values[i], __shfl_xor_sync(kAllLanes, values[i], step));
    }
  }
  if (width <= kWarp) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (lane == 0) room[i][warp] = values[i];
  }
  __syncthreads();
  const int warps = width / kWarp;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    // Not one of the warps' numbers where there is none: a sum must not count one twice.
    values[i] = warp_reduce<Op>(lane < warps ? room[i][lane] : Op::neutral());
  }
}

/// One number.
template <class Op>
__device__ __forceinline__ float row_reduce(float value, ReduceRoom<1>& room) {
  float values[1] = {value};
  row_reduce<Op>(values, room);
  return values[0];
}

// ---- Rows in registers --------------------------------------------------------------------------

/// The row of this thread and its place in it. Pack i of a thread begins at column(i): neighbours read
/// neighbouring addresses.
template <int kValues, int kVec>
struct Place {
  static constexpr int kPacks = kValues / kVec;
  std::int64_t row;
  int columns;  ///< of the row; 0 behind the last row

  __device__ __forceinline__ Place(std::int64_t row_number, std::int64_t R, int D)
      : row(row_number < R ? row_number : 0), columns(row_number < R ? D : 0) {}

  __device__ __forceinline__ int column(int i) const {
    return static_cast<int>(i * blockDim.x + threadIdx.x) * kVec;
  }
  __device__ __forceinline__ bool has(int i) const { return column(i) < columns; }
};

/// The row of this thread in a grid that has a group of threads for each.
__device__ __forceinline__ std::int64_t row_of_grid() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}

/// A thread's elements of a row, `fill` where the row has none.
template <int kValues, int kVec, class T>
__device__ __forceinline__ void load_row(const T* x, const Place<kValues, kVec>& place, float fill,
                                         float (&values)[kValues]) {
  constexpr int kPacks = kValues / kVec;
  Raw<kVec, T> packs[kPacks];
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    if (place.has(i)) packs[i] = load_raw<kVec>(x + place.column(i));
  }
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    unpack(packs[i], values, i * kVec);
    if (!place.has(i)) {
#pragma unroll
      for (int j = 0; j < kVec; ++j) values[i * kVec + j] = fill;
    }
  }
}

template <int kValues, int kVec, class T>
__device__ __forceinline__ void store_row(T* x, const Place<kValues, kVec>& place,
                                          const float (&values)[kValues]) {
#pragma unroll
  for (int i = 0; i < kValues / kVec; ++i) {
    if (place.has(i)) store_values<kVec>(x + place.column(i), values, i * kVec);
  }
}

// ---- Long rows ----------------------------------------------------------------------------------

/// f(column, pack) for the packs of a row of D elements that are this thread's, a few loads at a time.
template <int kVec, class T, class F>
__device__ __forceinline__ void for_each_pack(const T* x, std::int64_t D, F&& f) {
  constexpr int kTogether = kVec == 1 ? 8 : 4;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * kVec;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x) * kVec; c < D;
       c += kTogether * step) {
    Raw<kVec, T> packs[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (c + i * step < D) packs[i] = load_raw<kVec>(x + c + i * step);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (c + i * step < D) f(c + i * step, packs[i]);
    }
  }
}

/// f(column, pack of x, pack of y): as above for two rows.
template <int kVec, class T, class F>
__device__ __forceinline__ void for_each_pack(const T* x, const T* y, std::int64_t D, F&& f) {
  constexpr int kTogether = kVec == 1 ? 4 : 2;
  const std::int64_t step = static_cast<std::int64_t>(blockDim.x) * kVec;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x) * kVec; c < D;
       c += kTogether * step) {
    Raw<kVec, T> first[kTogether];
    Raw<kVec, T> second[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (c + i * step >= D) continue;
      first[i] = load_raw<kVec>(x + c + i * step);
      second[i] = load_raw<kVec>(y + c + i * step);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      if (c + i * step < D) f(c + i * step, first[i], second[i]);
    }
  }
}

// ---- The host's side ----------------------------------------------------------------------------

/// True when every row begins at a multiple of 16 bytes; rows are `stride` elements apart.
inline bool rows_aligned(const void* data, std::size_t element_bytes, std::int64_t stride,
                         std::int64_t R) {
  return is_aligned(data, 16) &&
         (R <= 1 || stride * static_cast<std::int64_t>(element_bytes) % 16 == 0);
}

/// How the rows of a kernel are cut into threads.
struct RowPlan {
  dim3 grid;
  dim3 block;
  bool wide = false;  ///< accesses of 16 bytes
  int values = 0;     ///< of a thread, in registers; 0 for rows that are too long for that
};

/// `wide`: all rows are aligned to 16 bytes and D is a multiple of them. A thread keeps 8 values of a row, or
/// up to `most_values` where there are rows enough to fill the GPU with fewer threads for each.
inline RowPlan plan_rows(Stream& stream, std::int64_t R, std::int64_t D, bool wide, int most_values,
                         int most_threads) {
  constexpr int kShortRowThreads = 128;  // of a block of several rows
  const auto threads = [D](int values) { return ceil_div(D, values); };
  const bool few = R <= 2 * backend_of_stream(stream).properties().multiProcessorCount;
  int values = kFewValues;
  while (wide && values < most_values && threads(values) > (few ? most_threads : kWarp))
    values *= 2;
  RowPlan plan{.wide = wide, .values = values};
  std::int64_t width = 1;
  if (threads(values) > most_threads) {
    plan.values = 0;
    width = kLongRowThreads;
  } else if (threads(values) <= kWarp) {
    while (width < threads(values)) width *= 2;
  } else {
    width = ceil_div(threads(values), kWarp) * kWarp;
  }
  const std::int64_t rows = width > kWarp ? 1 : kShortRowThreads / width;
  plan.block = dim3(static_cast<unsigned>(width), static_cast<unsigned>(rows));
  plan.grid = dim3(static_cast<unsigned>(ceil_div(R, rows)));
  return plan;
}

/// Calls f(values, elements of an access), both as constants; values is 0 for long rows.
template <class T, int kMostValues, class F>
void switch_plan(const RowPlan& plan, F&& f) {
  constexpr int kWide = kPackSize<T>;
  if (!plan.wide) {
    if (plan.values == 0) return f(Int<0>{}, Int<1>{});
    return f(Int<kFewValues>{}, Int<1>{});
  }
  if (plan.values == 0) return f(Int<0>{}, Int<kWide>{});
  if (plan.values == 8) return f(Int<8>{}, Int<kWide>{});
  if (plan.values == 16) return f(Int<16>{}, Int<kWide>{});
  if constexpr (kMostValues >= 32) return f(Int<32>{}, Int<kWide>{});
}

}  // namespace wick::cuda
