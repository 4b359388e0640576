#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cpuid.h>

#include "backends/cpu/bf16_pairs.hpp"

// What is compiled for more than the least processor.
#define WICK_AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl")))

namespace wick::cpu::bf16 {

namespace {

// A tile register holds 16 rows of 64 bytes: 16 sums of f32, or 32 elements of bf16.
constexpr std::int64_t kTileRows = kLanes;
constexpr std::int64_t kGroupRows = 2 * kTileRows;  // rows of c at a time

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
WICK_AMX void multiply_aside(const Bf16Product& p, const Factors& f, std::int64_t m,
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
  return usable;
}

WICK_AMX void add_by_amx(const Bf16Product& p) {
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

}  // namespace wick::cpu::bf16
