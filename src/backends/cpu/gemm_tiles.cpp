#include "backends/cpu/gemm_tiles.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm_tiles.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/transpose-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// ---- Packing ------------------------------------------------------------------------------------

// Tiles of up to kMostRows rows of kVectors vectors: as many sums as registers hold beside a row of b and a factor, and
// nearly square, since each step loads one factor for each row and one vector for each of b.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
constexpr int kVectors = 2;
constexpr int kMostRows = 6;
#else
constexpr int kVectors = 2;
constexpr int kMostRows = 14;
#endif

// Rows of a tile of a are so far apart: known to the compiler, and no power of two, so that the rows fall into different
// sets of a cache.
constexpr std::int64_t kRowStride = kTileDepth + 16;

HWY_INLINE std::int64_t strip_columns() { return kVectors * lanes(); }

// Columns of the strip that begins at column n: the last strip has as few vectors as are enough.
HWY_INLINE std::int64_t columns_of_strip(std::int64_t n, std::int64_t N) {
  return std::min(strip_columns(), (N - n + lanes() - 1) / lanes() * lanes());
}

// Row by row, each of which lies in one piece: strip by strip would touch a page of memory for every other line.
template <class T>
void pack_strips_of_rows(const T* b, std::int64_t row_stride, std::int64_t K, std::int64_t N,
                         float* strips) {
  for (std::int64_t k = 0; k < K; ++k) {
    const T* const row = b + k * row_stride;
    for (std::int64_t n = 0; n < N; n += strip_columns()) {
      const std::int64_t width = columns_of_strip(n, N);
      float* const to = strips + n * K + k * width;
      for (std::int64_t v = 0; v < width; v += lanes()) {
        store(load_some(row + n + v, std::min(lanes(), N - n - v)), to + v);
      }
    }
  }
}

// Columns that do not lie side by side.
template <class T>
void pack_strip(const T* b, const Operand& layout, std::int64_t K, std::int64_t count,
                std::int64_t width, float* to) {
  if (layout.row_stride == 1) {
    transpose_rows(b, layout.column_stride, count, K, to, width);
  } else {
    for (std::int64_t k = 0; k < K; ++k) {
      for (std::int64_t n = 0; n < count; ++n) {
        to[k * width + n] = static_cast<float>(b[k * layout.row_stride + n * layout.column_stride]);
      }
    }
  }
  for (std::int64_t k = 0; k < K && count < width; ++k) {
    std::fill(to + k * width + count, to + (k + 1) * width, 0.0F);
  }
}

void pack_columns_here(const Operand& b, std::int64_t K, std::int64_t N, float* strips) {
  switch_floating(b.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const data = static_cast<const T*>(b.data);
    if (b.column_stride == 1) return pack_strips_of_rows(data, b.row_stride, K, N, strips);
    for (std::int64_t n = 0; n < N; n += strip_columns()) {
      const std::int64_t width = columns_of_strip(n, N);
      pack_strip(data + n * b.column_stride, b, K, std::min(width, N - n), width, strips + n * K);
    }
  });
}

// to[m][k] = alpha · a[m, k], rows kRowStride apart.
template <class T>
void pack_rows(const T* a, const Operand& layout, std::int64_t rows, std::int64_t K, float alpha,
               float* to) {
  if (layout.column_stride != 1 && layout.row_stride == 1) {
    transpose_rows(a, layout.column_stride, K, rows, to, kRowStride);
  } else if (layout.column_stride != 1) {
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t k = 0; k < K; ++k) {
        to[m * kRowStride + k] =
            static_cast<float>(a[m * layout.row_stride + k * layout.column_stride]);
      }
    }
  }
  const bool in_rows = layout.column_stride == 1;
  if (!in_rows && alpha == 1) return;
  const auto factor = hn::Set(F32(), alpha);
  for (std::int64_t m = 0; m < rows; ++m) {
    float* const row = to + m * kRowStride;
    for_each_vector(K, [&](std::int64_t k, std::int64_t n) HWY_ATTR {
      const auto v = in_rows ? load_some(a + m * layout.row_stride + k, n) : load_some(row + k, n);
      store_some(hn::Mul(v, factor), row + k, n);
    });
  }
}

// ---- Tiles --------------------------------------------------------------------------------------

// What happens to the next rows of a while a tile is computed, since packing them between tiles would wait for memory while
// nothing is computed: they are fetched, and those of f32 are packed on the way.
struct Ahead {
  const std::byte* first = nullptr;
  std::int64_t stride_bytes = 0;
  std::int64_t rows = 0;
  std::int64_t bytes_of_step = 0;  // of kStepOfAhead elements
  float* packed =
      nullptr;  // where the first row goes, as pack_rows() leaves it; null: rows are fetched only
  float alpha = 1;

  // `count` elements of each row from k on, of a step.
  HWY_INLINE void take(std::int64_t k, std::int64_t count) const {
    const std::byte* row = first + k / kStepOfAhead * bytes_of_step;
    for (std::int64_t i = 0; i < rows; ++i, row += stride_bytes) {
      if (packed == nullptr) {
        hwy::Prefetch(row);
        continue;
      }
      hwy::Prefetch(row + kStepsFetched * bytes_of_step);
      // SAFETY: rows that are packed are f32.
      const auto* const from = reinterpret_cast<const float*>(row);
      float* const to = packed + i * kRowStride + k;
      for_each_vector(count, [&](std::int64_t j, std::int64_t n) HWY_ATTR {
        store_some(hn::Mul(load_some(from + j, n), hn::Set(F32(), alpha)), to + j, n);
      });
    }
  }

  static constexpr std::int64_t kStepOfAhead = 16;
  static constexpr std::int64_t kStepsFetched = 2;
};
constexpr std::int64_t kStepOfAhead = Ahead::kStepOfAhead;
constexpr int kStepsAhead = 16;

// One strip of b, or as many columns of its rows, f32 or bf16.
struct Strip {
  const void* data;
  std::int64_t row_stride;
};

// Each addition to a sum rounds what has been added up so far. Four chains of additions in place of one halve the error of
// the sum for 1 % of the time at a depth of 256, and 8 % at 64; below that they are not worth it.
constexpr std::int64_t kChains = 4;
constexpr std::int64_t kLeastDepthOfChains = 64;

// to = base + sums, or sums where base is null; sums = 0.
template <int kRows, int kWidth>
HWY_INLINE void end_chain(F32Vec (&sums)[kRows][kWidth], const float* base,
                          std::int64_t base_stride, float* to, std::int64_t stride) {
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 3
    for (int v = 0; v < kWidth; ++v) {
      const std::int64_t column = v * lanes();
      const auto total =
          base == nullptr ? sums[m][v] : hn::Add(load(base + m * base_stride + column), sums[m][v]);
      store(total, to + m * stride + column);
      sums[m][v] = hn::Zero(F32());
    }
  }
}

// c [kRows, kWidth vectors] = a b (+ c) with a as pack_rows() leaves it.
template <class T, int kRows, int kWidth>
HWY_NOINLINE void tile(const float* HWY_RESTRICT a, const Strip& strip, std::int64_t K,
                       float* HWY_RESTRICT c, std::int64_t c_stride, bool accumulate,
                       const Ahead& ahead) {
  const T* HWY_RESTRICT b = static_cast<const T*>(strip.data);
  const std::int64_t b_stride = strip.row_stride;
  F32Vec sums[kRows][kWidth];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 3
    for (int v = 0; v < kWidth; ++v) {
      sums[m][v] = hn::Zero(F32());
      if (accumulate) hwy::Prefetch(c + m * c_stride + v * lanes());
    }
  }
  const auto add_step = [&](std::int64_t k) HWY_ATTR {
    F32Vec row[kWidth];
#pragma GCC unroll 3
    for (int v = 0; v < kWidth; ++v) {
      row[v] = load(b + k * b_stride + v * lanes());
      hwy::Prefetch(b + (k + kStepsAhead) * b_stride + v * lanes());
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const auto factor = hn::Set(F32(), a[m * kRowStride + k]);
#pragma GCC unroll 3
      for (int v = 0; v < kWidth; ++v) sums[m][v] = hn::MulAdd(factor, row[v], sums[m][v]);
    }
  };
  // What is added when a chain ends: the chains before, or c.
  HWY_ALIGN float chains[kRows * kWidth * HWY_MAX_BYTES / sizeof(float)];
  const float* base = accumulate ? c : nullptr;
  std::int64_t base_stride = c_stride;
  const std::int64_t steps_of_chain = std::max<std::int64_t>(1, K / (kChains * kStepOfAhead));
  std::int64_t next_chain = K < kLeastDepthOfChains ? K : steps_of_chain;
  std::int64_t step = 0;
  for (; (step + 1) * kStepOfAhead <= K; ++step) {
    if (step == next_chain) {
      next_chain += steps_of_chain;
      end_chain(sums, base, base_stride, chains, kWidth * lanes());
      base = chains;
      base_stride = kWidth * lanes();
    }
    ahead.take(step * kStepOfAhead, kStepOfAhead);
#pragma GCC unroll 4
    for (std::int64_t k = 0; k < kStepOfAhead; ++k) add_step(k);
    a += kStepOfAhead;
    b += kStepOfAhead * b_stride;
  }
  if (step * kStepOfAhead < K) ahead.take(step * kStepOfAhead, K - step * kStepOfAhead);
  for (std::int64_t k = 0; k < K - step * kStepOfAhead; ++k) add_step(k);
  end_chain(sums, base, base_stride, c, c_stride);
}

using TileKernel = void (*)(const float*, const Strip&, std::int64_t, float*, std::int64_t, bool,
                            const Ahead&);

template <class T, int kWidth, std::size_t... kRows>
TileKernel tile_kernel_of_width(std::int64_t rows, std::index_sequence<kRows...>) {
  static constexpr TileKernel kKernels[] = {&tile<T, static_cast<int>(kRows) + 1, kWidth>...};
  return kKernels[rows - 1];
}

template <class T>
TileKernel tile_kernel(std::int64_t rows, std::int64_t width) {
  constexpr auto kAll = std::make_index_sequence<kMostRows>();
  return width == lanes() ? tile_kernel_of_width<T, 1>(rows, kAll)
                          : tile_kernel_of_width<T, kVectors>(rows, kAll);
}

// One tile whose last columns do not exist in c: computed aside.
void partial_tile(TileKernel kernel, const TilesProduct& p, const float* a, const Strip& strip,
                  std::int64_t rows, std::int64_t columns, float* c, const Ahead& ahead) {
  HWY_ALIGN float aside[kMostRows * kVectors * HWY_MAX_BYTES / sizeof(float)];
  const std::int64_t stride = strip_columns();
  for (std::int64_t m = 0; m < rows && p.accumulate; ++m) {
    std::fill_n(aside + m * stride, stride, 0.0F);
    std::copy_n(c + m * p.c_stride, columns, aside + m * stride);
  }
  kernel(a, strip, p.K, aside, stride, p.accumulate, ahead);
  for (std::int64_t m = 0; m < rows; ++m) {
    std::copy_n(aside + m * stride, columns, c + m * p.c_stride);
  }
}

// Rows of c: a lies packed in a first-level cache, the strips pass by.
struct Group {
  std::int64_t first, rows;
  const float* a;
};

// Whether the next rows of a are fetched while others are multiplied: less deep ones cost more to share out.
bool looks_ahead(const TilesProduct& p) {
  constexpr std::int64_t kLeastDepth = 64;
  return p.a.column_stride == 1 && p.K >= kLeastDepth;
}
bool packs_ahead(const TilesProduct& p) { return looks_ahead(p) && p.a.dtype == DType::kF32; }

// The rows of the next group that the strip at column n takes: each its share.
Ahead share_of_next_rows(const TilesProduct& p, const Group& next, float* packed, std::int64_t n) {
  if (!looks_ahead(p)) return {};
  const auto size = static_cast<std::int64_t>(size_of(p.a.dtype));
  const std::int64_t begin = std::min(next.rows, next.rows * n / p.N);
  const std::int64_t end = std::min(next.rows, next.rows * (n + strip_columns()) / p.N);
  return {.first = static_cast<const std::byte*>(p.a.data) +
                   (next.first + begin) * p.a.row_stride * size,
          .stride_bytes = p.a.row_stride * size,
          .rows = end - begin,
          .bytes_of_step = kStepOfAhead * size,
          .packed = packs_ahead(p) ? packed + begin * kRowStride : nullptr,
          .alpha = p.alpha};
}

Strip strip_at(const TilesProduct& p, std::int64_t n, std::int64_t width) {
  if (p.strips != nullptr) return {p.strips + n * p.K, width};
  const auto size = static_cast<std::int64_t>(size_of(p.columns.dtype));
  return {static_cast<const std::byte*>(p.columns.data) + n * size, p.columns.row_stride};
}

// Tiles of one strip after the other, for sums of one short chain: what a call and the addresses of rows take counts there.
template <int kRows>
HWY_NOINLINE void tiles_of_strips(const TilesProduct& p, const float* HWY_RESTRICT a,
                                  float* HWY_RESTRICT c, std::int64_t strips) {
  const Strip first = strip_at(p, 0, strip_columns());
  const float* HWY_RESTRICT b = static_cast<const float*>(first.data);
  const std::int64_t b_step = p.strips == nullptr ? strip_columns() : strip_columns() * p.K;
  for (std::int64_t s = 0; s < strips; ++s, b += b_step, c += strip_columns()) {
    F32Vec sums[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sums[m][v] = hn::Zero(F32());
    }
#pragma GCC unroll 2
    for (std::int64_t k = 0; k < p.K; ++k) {
      F32Vec row[kVectors];
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) row[v] = load(b + k * first.row_stride + v * lanes());
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        const auto factor = hn::Set(F32(), a[m * kRowStride + k]);
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) sums[m][v] = hn::MulAdd(factor, row[v], sums[m][v]);
      }
    }
    end_chain(sums, p.accumulate ? c : nullptr, p.c_stride, c, p.c_stride);
  }
}

using StripsKernel = void (*)(const TilesProduct&, const float*, float*, std::int64_t);

template <std::size_t... kRows>
StripsKernel strips_kernel(std::int64_t rows, std::index_sequence<kRows...>) {
  static constexpr StripsKernel kKernels[] = {&tiles_of_strips<static_cast<int>(kRows) + 1>...};
  return kKernels[rows - 1];
}

void tiles_of_rows(const TilesProduct& p, const Group& group, const Group& next, float* packed) {
  float* const c = p.c + group.first * p.c_stride;
  const bool reads_bf16 = p.strips == nullptr && p.columns.dtype == DType::kBF16;
  std::int64_t n = 0;
  if (p.K < kLeastDepthOfChains && !reads_bf16) {
    const std::int64_t strips = p.N / strip_columns();
    strips_kernel(group.rows, std::make_index_sequence<kMostRows>())(p, group.a, c, strips);
    n = strips * strip_columns();
  }
  for (; n < p.N; n += strip_columns()) {
    const std::int64_t width = columns_of_strip(n, p.N);
    const TileKernel kernel = reads_bf16 ? tile_kernel<BFloat16>(group.rows, width)
                                         : tile_kernel<float>(group.rows, width);
    const Strip strip = strip_at(p, n, width);
    const Ahead ahead = share_of_next_rows(p, next, packed, n);
    if (n + width <= p.N) {
      kernel(group.a, strip, p.K, c + n, p.c_stride, p.accumulate, ahead);
    } else {
      partial_tile(kernel, p, group.a, strip, group.rows, p.N - n, c + n, ahead);
    }
  }
}

void add_tiles_here(const TilesProduct& p) {
  HWY_ALIGN float packed[2][kMostRows * kRowStride];
  const std::int64_t tiles = (p.M + kMostRows - 1) / kMostRows;
  const auto group_at = [&](std::int64_t i) -> Group {  // as equal as can be
    const std::int64_t first = i * p.M / tiles;
    return {first, i < tiles ? (i + 1) * p.M / tiles - first : 0, packed[i % 2]};
  };
  for (std::int64_t i = 0; i < tiles; ++i) {
    const Group group = group_at(i);
    if (i == 0 || !packs_ahead(p)) {
      switch_floating(p.a.dtype, [&]<class T>(std::type_identity<T>) {
        const T* const a = static_cast<const T*>(p.a.data);
        pack_rows(a + group.first * p.a.row_stride, p.a, group.rows, p.K, p.alpha, packed[i % 2]);
      });
    }
    tiles_of_rows(p, group, group_at(i + 1), packed[(i + 1) % 2]);
  }
}

void transpose_floats_here(const float* in, std::int64_t in_stride, std::int64_t M, std::int64_t N,
                           float* out, std::int64_t out_stride) {
  transpose_rows(in, in_stride, M, N, out, out_stride);
}

bool takes_columns_as_they_lie_here(std::int64_t M, const Operand& b, std::int64_t N) {
  // Rows further apart fall into too few sets of a cache.
  constexpr std::int64_t kLargestStride = 8192;
  const bool converts_seldom = b.dtype == DType::kBF16 && M <= 2 * kMostRows;
  return (b.dtype == DType::kF32 || converts_seldom) && b.column_stride == 1 &&
         b.row_stride <= kLargestStride && N % lanes() == 0;
}

std::int64_t packed_columns_here(std::int64_t columns) {
  return (columns + lanes() - 1) / lanes() * lanes();
}

// ---- Dot products -------------------------------------------------------------------------------

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
constexpr int kDotRows = 2;
constexpr int kDotColumns = 4;
#else
constexpr int kDotRows = 3;
constexpr int kDotColumns = 8;
#endif

// Compilers load a vector again for each use, which costs more than keeping it.
HWY_INLINE void keep_in_register([[maybe_unused]] F32Vec& v) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  asm volatile("" : "+v"(v.raw));
#endif
}

// Rows [0, rows) and columns [0, columns) of c; where there are fewer than the kernel computes, the last one stands in for
// those missing.
template <class T>
void tile_of_dots(const DotsProduct& p, const T* first, std::int64_t m, std::int64_t n) {
  const std::int64_t rows = std::min<std::int64_t>(kDotRows, p.M - m);
  const std::int64_t columns = std::min<std::int64_t>(kDotColumns, p.N - n);
  const T* a[kDotRows];
  const float* b[kDotColumns];
  for (int i = 0; i < kDotRows; ++i) {
    a[i] = first + (m + std::min<std::int64_t>(i, rows - 1)) * p.a_stride;
  }
  for (int j = 0; j < kDotColumns; ++j) {
    b[j] = p.b + (n + std::min<std::int64_t>(j, columns - 1)) * p.b_stride;
  }
  F32Vec sums[kDotRows][kDotColumns];
#pragma GCC unroll 4
  for (int i = 0; i < kDotRows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kDotColumns; ++j) sums[i][j] = hn::Zero(F32());
  }
  for_each_vector(p.K, [&](std::int64_t k, std::int64_t count) HWY_ATTR {
    F32Vec left[kDotRows];
#pragma GCC unroll 4
    for (int i = 0; i < kDotRows; ++i) left[i] = load_some(a[i] + k, count);
#pragma GCC unroll 8
    for (int j = 0; j < kDotColumns; ++j) {
      auto right = load_some(b[j] + k, count);
      keep_in_register(right);
#pragma GCC unroll 4
      for (int i = 0; i < kDotRows; ++i) sums[i][j] = hn::MulAdd(left[i], right, sums[i][j]);
    }
  });
  for (std::int64_t i = 0; i < rows; ++i) {
    float totals[kDotColumns];
    for (int j = 0; j < kDotColumns; j += 4) {
      sum_lanes_of_four(sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3], totals + j);
    }
    float* const c = p.c + (m + i) * p.c_stride + n;
    for (std::int64_t j = 0; j < columns; ++j) {
      c[j] = p.alpha * totals[j] + (p.beta == 0 ? 0.0F : p.beta * c[j]);
    }
  }
}

void multiply_dots_here(const DotsProduct& p) {
  switch_floating(p.a_dtype, [&]<class T>(std::type_identity<T>) {
    const T* const a = static_cast<const T*>(p.a);
    for (std::int64_t m = 0; m < p.M; m += kDotRows) {
      for (std::int64_t n = 0; n < p.N; n += kDotColumns) tile_of_dots(p, a, m, n);
    }
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(packed_columns_here);
HWY_EXPORT(takes_columns_as_they_lie_here);
HWY_EXPORT(pack_columns_here);
HWY_EXPORT(add_tiles_here);
HWY_EXPORT(transpose_floats_here);
HWY_EXPORT(multiply_dots_here);

std::int64_t packed_columns(std::int64_t columns) {
  return HWY_DYNAMIC_DISPATCH(packed_columns_here)(columns);
}

bool takes_columns_as_they_lie(std::int64_t M, const Operand& b, std::int64_t N) {
  return HWY_DYNAMIC_DISPATCH(takes_columns_as_they_lie_here)(M, b, N);
}

void pack_columns(const Operand& b, std::int64_t K, std::int64_t N, float* strips) {
  HWY_DYNAMIC_DISPATCH(pack_columns_here)(b, K, N, strips);
}

void add_tiles(const TilesProduct& product) { HWY_DYNAMIC_DISPATCH(add_tiles_here)(product); }

void transpose_floats(const float* in, std::int64_t in_stride, std::int64_t M, std::int64_t N,
                      float* out, std::int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(transpose_floats_here)(in, in_stride, M, N, out, out_stride);
}

void multiply_dots(const DotsProduct& product) {
  HWY_DYNAMIC_DISPATCH(multiply_dots_here)(product);
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
