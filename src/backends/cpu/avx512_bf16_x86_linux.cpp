#include <immintrin.h>

#include <algorithm>
#include <cpuid.h>
#include <utility>

#include "backends/cpu/bf16_pairs.hpp"

// What is compiled for more than the least processor.
#define WICK_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace wick::cpu::bf16 {

namespace {

// As many rows of a strip's sums as registers hold beside the strip's pairs and one of a row.
constexpr int kMostRows = 14;

// A tile of c: its address, and which columns of its first and of its second vector exist.
struct TileOfC {
  float* data;
  std::int64_t stride;
  __mmask16 columns[2];
  float alpha;
  bool accumulate;
};

// The rows of a and the strip of b that meet in it.
struct Factors {
  const std::uint16_t* a;      // as pack_rows() leaves it
  const std::uint16_t* b;      // the halves of a strip are `half` apart
  const std::uint16_t* b_low;  // null, or to be added to b
  std::int64_t half;
  std::int64_t pairs;  // along K
};

// The next rows of a, which are packed while a tile is computed: between tiles that would wait for memory.
struct Ahead {
  const std::uint16_t* from = nullptr;
  std::int64_t stride = 0, rows = 0;
  std::int64_t K = 0;
  std::uint16_t* to = nullptr;  // as pack_rows() leaves them

  // Elements [k, k + kStep) of each.
  WICK_BF16 void pack(std::int64_t k) const {
    if (rows == 0) return;  // and K says nothing
    const std::int64_t count = std::min(kStep, K - k);
    const auto lanes = static_cast<__mmask32>(count == kStep ? ~0U : (1U << count) - 1U);
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::uint16_t* const row = from + i * stride + k;
      _mm_prefetch(row + 2 * kStep, _MM_HINT_T0);
      _mm512_storeu_si512(to + i * kRowStride + k, _mm512_maskz_loadu_epi16(lanes, row));
    }
  }
};

using Vector = __m512bh;

WICK_BF16 inline Vector pairs_at(const std::uint16_t* p) {
  // SAFETY: both are 512 bits.
  return reinterpret_cast<Vector>(_mm512_loadu_si512(p));
}

WICK_BF16 inline Vector repeated_pair(const std::uint16_t* p) {
  // SAFETY: both are 512 bits.
  return reinterpret_cast<Vector>(_mm512_broadcastd_epi32(_mm_loadu_si32(p)));
}

template <int kRows, int kVectors>
WICK_BF16 inline void add_pairs(const std::uint16_t* a, const std::uint16_t* b, std::int64_t half,
                                std::int64_t pairs, __m512 (&sums)[kRows][kVectors]) {
  constexpr int kAhead = 16;
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < pairs; ++k) {
    Vector row[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const std::uint16_t* const from = b + v * half + k * kStep;
      row[v] = pairs_at(from);
      _mm_prefetch(from + kAhead * kStep, _MM_HINT_T0);
    }
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const Vector factor = repeated_pair(a + m * kRowStride + 2 * k);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[m][v] = _mm512_dpbf16_ps(sums[m][v], factor, row[v]);
      }
    }
  }
}

// c [kRows, kVectors vectors] = alpha · a b (+ c).
template <int kRows, int kVectors>
WICK_BF16 __attribute__((noinline)) void tile(const Factors& f, const TileOfC& c,
                                              const Ahead& ahead) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[m][v] = _mm512_setzero_ps();
  }
  for (std::int64_t k = 0; k < f.pairs; k += kLanes) {
    ahead.pack(2 * k);
    add_pairs(f.a + 2 * k, f.b + k * kStep, f.half, std::min(kLanes, f.pairs - k), sums);
  }
  if (f.b_low != nullptr) add_pairs(f.a, f.b_low, f.half, f.pairs, sums);
  const __m512 alpha = _mm512_set1_ps(c.alpha);
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* const to = c.data + m * c.stride + v * kLanes;
      const __m512 before =
          c.accumulate ? _mm512_maskz_loadu_ps(c.columns[v], to) : _mm512_setzero_ps();
      _mm512_mask_storeu_ps(to, c.columns[v], _mm512_fmadd_ps(alpha, sums[m][v], before));
    }
  }
}

using TileKernel = void (*)(const Factors&, const TileOfC&, const Ahead&);

template <int kVectors, std::size_t... kRows>
TileKernel tile_kernel_of_width(std::int64_t rows, std::index_sequence<kRows...>) {
  static constexpr TileKernel kKernels[] = {&tile<static_cast<int>(kRows) + 1, kVectors>...};
  return kKernels[rows - 1];
}

TileKernel tile_kernel(std::int64_t rows, std::int64_t columns) {
  constexpr auto kAll = std::make_index_sequence<kMostRows>();
  return columns <= kLanes ? tile_kernel_of_width<1>(rows, kAll)
                           : tile_kernel_of_width<2>(rows, kAll);
}

__mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFFU
                                                : (1U << std::max<std::int64_t>(count, 0)) - 1U);
}

// Rows of c: a lies packed in a first-level cache, the strips pass by.
struct Group {
  std::int64_t first, rows;
  std::uint16_t* a;
};

// The rows of the next group that are packed beside the strip at column n: each strip takes its share.
Ahead share_of(const Bf16Product& p, const Group& next, std::int64_t n) {
  if (p.a.column_stride != 1) return {};
  const std::int64_t begin = std::min(next.rows, next.rows * n / p.N);
  const std::int64_t end = std::min(next.rows, next.rows * (n + kStripColumns) / p.N);
  return {.from = elements(p.a) + (next.first + begin) * p.a.row_stride,
          .stride = p.a.row_stride,
          .rows = end - begin,
          .K = p.K,
          .to = next.a + begin * kRowStride};
}

void multiply_group(const Bf16Product& p, const Group& group, const Group& next) {
  const std::int64_t depth = round_up(p.K, kStep);
  // SAFETY: BFloat16 is exactly one uint16_t.
  const auto* const strips = reinterpret_cast<const std::uint16_t*>(p.strips);
  // SAFETY: as above.
  const auto* const low = reinterpret_cast<const std::uint16_t*>(p.strips_low);
  for (std::int64_t n = 0; n < p.N; n += kStripColumns) {
    const std::int64_t columns = p.N - n;
    const Factors factors{.a = group.a,
                          .b = strips + n * depth,
                          .b_low = low == nullptr ? nullptr : low + n * depth,
                          .half = kLanes * depth,
                          .pairs = (p.K + 1) / 2};
    const TileOfC c{.data = p.c + group.first * p.c_stride + n,
                    .stride = p.c_stride,
                    .columns = {first_lanes(columns), first_lanes(columns - kLanes)},
                    .alpha = p.alpha,
                    .accumulate = p.accumulate};
    tile_kernel(group.rows, columns)(factors, c, share_of(p, next, n));
  }
}

}  // namespace

bool has_avx512() {
  static const bool usable = [] {
    constexpr unsigned kBf16 = 1U << 5U;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0) return false;
    return (eax & kBf16) != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  }();
  return usable;
}

void add_by_avx512(const Bf16Product& p) {
  alignas(64) std::uint16_t packed[2][kLanes * kRowStride];
  const std::int64_t groups = (p.M + kMostRows - 1) / kMostRows;
  const auto group_at = [&](std::int64_t i) -> Group {  // as equal as can be
    const std::int64_t first = i * p.M / groups;
    return {first, i < groups ? (i + 1) * p.M / groups - first : 0, packed[i % 2]};
  };
  for (std::int64_t i = 0; i < groups; ++i) {
    const Group group = group_at(i);
    if (i == 0 || p.a.column_stride != 1) {
      pack_rows(p.a, elements(p.a) + group.first * p.a.row_stride, group.rows, p.K, group.a);
    }
    multiply_group(p, group, group_at(i + 1));
  }
}

}  // namespace wick::cpu::bf16
