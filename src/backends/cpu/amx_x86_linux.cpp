#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cpuid.h>

#include "backends/cpu/amx.hpp"
#include "backends/cpu/instruction_set.hpp"

// What is compiled for more than the least processor.
#define WICK_AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl")))

namespace wick::cpu {

namespace {

// A tile register holds 16 rows of 64 bytes: 16 sums of f32, or 32 elements of bf16.
constexpr std::int64_t kTileRows = 16;
constexpr std::int64_t kPairs = 16;
constexpr std::int64_t kStep = 2 * kPairs;          // along K
constexpr std::int64_t kGroupRows = 2 * kTileRows;  // rows of c at a time
constexpr std::int64_t kStripColumns = 2 * kTileRows;
// Rows of packed a are so far apart: no power of two, so that they fall into different sets of a cache.
constexpr std::int64_t kRowStride = kAmxDepth + kStep;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t step) {
  return (n + step - 1) / step * step;
}

// ---- The processor and the system ---------------------------------------------------------------

bool processor_has_amx() {
  constexpr unsigned kAmxBf16 = 1U << 22U, kAmxTile = 1U << 24U;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & kAmxBf16) != 0 && (edx & kAmxTile) != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512bf16") != 0;
}

// Linux gives a process the registers of tiles, 8 KiB for each thread, when it asks.
bool system_gives_tiles() {
  constexpr long kAskForState = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

// Eight tiles of full size, while it lives.
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
class TilesInUse {
 public:
  WICK_AMX TilesInUse() {
    static constexpr TileConfiguration kConfiguration;
    _tile_loadconfig(&kConfiguration);
  }
  WICK_AMX ~TilesInUse() { _tile_release(); }
  TilesInUse(const TilesInUse&) = delete;
  TilesInUse& operator=(const TilesInUse&) = delete;
};

// GCC does not know that loading a tile reads memory: what was written before must not be moved behind it.
inline void finish_writing() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// ---- Packing ------------------------------------------------------------------------------------

const std::uint16_t* elements(const Operand& x) {
  return static_cast<const std::uint16_t*>(x.data);
}

WICK_AMX inline __m512i load_up_to_32(const std::uint16_t* p, std::int64_t count) {
  if (count >= kStep) return _mm512_loadu_si512(p);
  if (count <= 0) return _mm512_setzero_si512();
  return _mm512_maskz_loadu_epi16((__mmask32{1} << count) - 1, p);
}

// out[j] = in[0..16)[j]: 16 x 16 elements of 32 bits, rows of `out` out_stride elements of 16 bits apart.
WICK_AMX inline void transpose_pairs(__m512i (&r)[16], std::uint16_t* out,
                                     std::int64_t out_stride) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {  // the even and the odd quarters of two rows
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xDD);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xDD);
  }
  for (int i = 0; i < 8; ++i) {
    const int half =
        i / 4 * 4;  // rows 0-3 and 8-11 from the even quarters, 4-7 and 12-15 from the odd ones
    const __m512i low = t[half + i % 4], high = t[8 + half + i % 4];
    _mm512_storeu_si512(out + i * out_stride, _mm512_shuffle_i32x4(low, high, 0x88));
    _mm512_storeu_si512(out + (8 + i) * out_stride, _mm512_shuffle_i32x4(low, high, 0xDD));
  }
}

// The elements of two rows, of which `count` exist, side by side: columns [0, 16) and [16, 32).
struct Interleaved {
  __m512i low, high;
};
WICK_AMX inline Interleaved interleave(__m512i even, __m512i odd) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  return {_mm512_permutex2var_epi16(even, low, odd), _mm512_permutex2var_epi16(even, high, odd)};
}

// b's columns are contiguous, as where a weight [N,K] is multiplied with: 16 of them at a time become 16 pairs.
WICK_AMX void pack_contiguous_columns(const Operand& b, std::int64_t K, std::int64_t N,
                                      std::uint16_t* strips) {
  const std::int64_t depth = round_up(K, kStep);
  for (std::int64_t n = 0; n < round_up(N, kStripColumns); n += kTileRows) {
    const std::uint16_t* const first = elements(b) + n * b.column_stride;
    for (std::int64_t k = 0; k < depth; k += kStep) {
      __m512i columns[kTileRows];
      for (std::int64_t j = 0; j < kTileRows; ++j) {
        columns[j] = load_up_to_32(first + j * b.column_stride + k, n + j < N ? K - k : 0);
      }
      transpose_pairs(columns, strips + n * depth + k * kTileRows, kStep);
    }
  }
}

WICK_AMX void pack_contiguous_rows(const Operand& b, std::int64_t K, std::int64_t N,
                                   std::uint16_t* strips) {
  const std::int64_t depth = round_up(K, kStep);
  for (std::int64_t k = 0; k < depth; k += 2) {
    const std::uint16_t* const even = elements(b) + k * b.row_stride;
    std::uint16_t* const out = strips + k / kStep * kStep * kTileRows + k % kStep / 2 * kStep;
    for (std::int64_t n = 0; n < N; n += kStripColumns) {
      const auto pairs = interleave(load_up_to_32(even + n, k < K ? N - n : 0),
                                    load_up_to_32(even + b.row_stride + n, k + 1 < K ? N - n : 0));
      _mm512_storeu_si512(out + n * depth, pairs.low);
      _mm512_storeu_si512(out + (n + kTileRows) * depth, pairs.high);
    }
  }
}

// to[m][k] = a[m, k], rows kRowStride apart, for whole tiles.
WICK_AMX void pack_rows(const Operand& a, const std::uint16_t* first, std::int64_t rows,
                        std::int64_t K, std::uint16_t* to) {
  for (std::int64_t m = 0; m < rows; m += kTileRows) {
    for (std::int64_t k = 0; k < K; k += kStep) {
      std::uint16_t* const out = to + m * kRowStride + k;
      if (a.column_stride == 1) {
        for (std::int64_t i = 0; i < kTileRows; ++i) {
          const std::uint16_t* const row = first + (m + i) * a.row_stride + k;
          _mm512_storeu_si512(out + i * kRowStride, load_up_to_32(row, m + i < rows ? K - k : 0));
        }
        continue;
      }
      __m512i pairs[kPairs];
      for (std::int64_t i = 0; i < kPairs; ++i) {
        const std::int64_t at = k + 2 * i;
        const std::uint16_t* const even = first + m + at * a.column_stride;
        const std::int64_t count = std::min(kTileRows, rows - m);
        pairs[i] = interleave(load_up_to_32(even, at < K ? count : 0),
                              load_up_to_32(even + a.column_stride, at + 1 < K ? count : 0))
                       .low;
      }
      transpose_pairs(pairs, out, kRowStride);
    }
  }
}

// ---- Tiles --------------------------------------------------------------------------------------

// The rows of a and the strip of b that meet in a group of sums.
struct Factors {
  const std::uint16_t* a;
  std::int64_t a_stride;
  const std::uint16_t* b;
  const std::uint16_t* b_low;  // null, or to be added to b
  std::int64_t depth;
};

// The four sums, or two, += a b for one step along K, with a in tiles 4 and 5.
template <bool kTwo>
WICK_AMX inline void add_step(const std::uint16_t* b, const std::uint16_t* b_right) {
  constexpr std::int64_t kLine = 64;
  _tile_loadd(6, b, kLine);
  _tile_loadd(7, b_right, kLine);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if constexpr (kTwo) {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

template <bool kTwo>
WICK_AMX inline void add_steps(const Factors& f) {
  const std::int64_t a_bytes = f.a_stride * std::int64_t{sizeof(std::uint16_t)};
  const std::uint16_t* const a_below = f.a + kTileRows * f.a_stride;
  const std::int64_t right = kTileRows * f.depth;
  for (std::int64_t k = 0; k < f.depth; k += kStep) {
    _tile_loadd(4, f.a + k, a_bytes);
    if constexpr (kTwo) _tile_loadd(5, a_below + k, a_bytes);
    const std::int64_t at = k * kTileRows;
    add_step<kTwo>(f.b + at, f.b + right + at);
    if (f.b_low != nullptr) add_step<kTwo>(f.b_low + at, f.b_low + right + at);
  }
}

// c [32,32], or its first 16 rows, = a b (+ c): four sums, or two.
template <bool kTwo>
WICK_AMX inline void multiply_group(const Factors& f, float* c, std::int64_t c_stride,
                                    bool accumulate) {
  const std::int64_t c_bytes = c_stride * std::int64_t{sizeof(float)};
  float* const c_below = c + kTileRows * c_stride;
  if (accumulate) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(1, c + kTileRows, c_bytes);
    if constexpr (kTwo) {
      _tile_loadd(2, c_below, c_bytes);
      _tile_loadd(3, c_below + kTileRows, c_bytes);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  add_steps<kTwo>(f);
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + kTileRows, c_bytes);
  if constexpr (kTwo) {
    _tile_stored(2, c_below, c_bytes);
    _tile_stored(3, c_below + kTileRows, c_bytes);
  }
}

// The same aside, where a part of c does not exist or the sums must be multiplied first.
WICK_AMX void multiply_aside(const AmxProduct& p, const Factors& f, std::int64_t m,
                             std::int64_t n) {
  alignas(64) float aside[kGroupRows * kStripColumns];
  const std::int64_t rows = std::min(kGroupRows, p.M - m);
  const std::int64_t columns = std::min(kStripColumns, p.N - n);
  const bool adds =
      p.accumulate && p.alpha == 1;  // as whole tiles do: the order of a sum is always the same
  float* const c = p.c + m * p.c_stride + n;
  for (std::int64_t i = 0; adds && i < rows; ++i) {
    std::copy_n(c + i * p.c_stride, columns, aside + i * kStripColumns);
  }
  finish_writing();
  if (rows > kTileRows) {
    multiply_group<true>(f, aside, kStripColumns, adds);
  } else {
    multiply_group<false>(f, aside, kStripColumns, adds);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    float* const row = c + i * p.c_stride;
    const float* const sums = aside + i * kStripColumns;
    for (std::int64_t j = 0; j < columns; ++j) {
      row[j] = p.alpha == 1 ? sums[j] : (p.accumulate ? row[j] : 0.0F) + p.alpha * sums[j];
    }
  }
}

}  // namespace

bool has_amx() {
  static const bool usable = processor_has_amx() && system_gives_tiles();
  return usable && active_instruction_set() == instruction_sets().front();
}

std::int64_t amx_strips(std::int64_t K, std::int64_t N) {
  return round_up(K, kStep) * round_up(N, kStripColumns);
}

void pack_amx_columns(const Operand& b, std::int64_t K, std::int64_t N, BFloat16* strips) {
  // SAFETY: BFloat16 is exactly one uint16_t; vectors alias both.
  auto* const out = reinterpret_cast<std::uint16_t*>(strips);
  if (b.row_stride == 1) {
    pack_contiguous_columns(b, K, N, out);
  } else {
    pack_contiguous_rows(b, K, N, out);
  }
}

WICK_AMX void add_amx(const AmxProduct& p) {
  const TilesInUse tiles;
  alignas(64) std::uint16_t packed[kGroupRows * kRowStride];
  // SAFETY: BFloat16 is exactly one uint16_t.
  const auto* const strips = reinterpret_cast<const std::uint16_t*>(p.strips);
  // SAFETY: as above.
  const auto* const strips_low = reinterpret_cast<const std::uint16_t*>(p.strips_low);
  const std::int64_t depth = round_up(p.K, kStep);
  for (std::int64_t m = 0; m < p.M; m += kGroupRows) {
    const std::int64_t rows = std::min(kGroupRows, p.M - m);
    Factors f{.a = elements(p.a) + m * p.a.row_stride,
              .a_stride = p.a.row_stride,
              .b = nullptr,
              .b_low = nullptr,
              .depth = depth};
    if (p.a.column_stride != 1 || depth != p.K || rows % kTileRows != 0) {
      pack_rows(p.a, f.a, rows, p.K, packed);
      f.a = packed;
      f.a_stride = kRowStride;
    }
    finish_writing();
    for (std::int64_t n = 0; n < p.N; n += kStripColumns) {
      f.b = strips + n * depth;
      if (strips_low != nullptr) f.b_low = strips_low + n * depth;
      float* const c = p.c + m * p.c_stride + n;
      if (p.alpha == 1 && rows == kGroupRows && n + kStripColumns <= p.N) {
        multiply_group<true>(f, c, p.c_stride, p.accumulate);
      } else {
        multiply_aside(p, f, m, n);
      }
    }
  }
}

}  // namespace wick::cpu
