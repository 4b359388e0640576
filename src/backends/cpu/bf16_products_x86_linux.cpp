#include <immintrin.h>

#include <algorithm>

#include "backends/cpu/bf16_pairs.hpp"
#include "backends/cpu/instruction_set.hpp"

// What is compiled for more than the least processor.
#define WICK_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))

namespace wick::cpu {

namespace bf16 {

namespace {

WICK_AVX512 inline __m512i load_up_to_32(const std::uint16_t* p, std::int64_t count) {
  if (count >= kStep) return _mm512_loadu_si512(p);
  if (count <= 0) return _mm512_setzero_si512();
  return _mm512_maskz_loadu_epi16((__mmask32{1} << count) - 1, p);
}

// out[j] = in[0..16)[j]: 16 x 16 elements of 32 bits, rows of `out` out_stride elements of 16 bits apart.
WICK_AVX512 inline void transpose_pairs(__m512i (&r)[16], std::uint16_t* out,
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
WICK_AVX512 inline Interleaved interleave(__m512i even, __m512i odd) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                       39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  return {_mm512_permutex2var_epi16(even, low, odd), _mm512_permutex2var_epi16(even, high, odd)};
}

// b's columns are contiguous, as where a weight [N,K] is multiplied with: 16 of them at a time become 16 pairs.
WICK_AVX512 void pack_contiguous_columns(const Operand& b, std::int64_t K, std::int64_t N,
                                         std::uint16_t* strips) {
  const std::int64_t depth = round_up(K, kStep);
  for (std::int64_t n = 0; n < round_up(N, kStripColumns); n += kLanes) {
    const std::uint16_t* const first = elements(b) + n * b.column_stride;
    for (std::int64_t k = 0; k < depth; k += kStep) {
      __m512i columns[kLanes];
      for (std::int64_t j = 0; j < kLanes; ++j) {
        columns[j] = load_up_to_32(first + j * b.column_stride + k, n + j < N ? K - k : 0);
      }
      transpose_pairs(columns, strips + n * depth + k * kLanes, kStep);
    }
  }
}

WICK_AVX512 void pack_contiguous_rows(const Operand& b, std::int64_t K, std::int64_t N,
                                      std::uint16_t* strips) {
  const std::int64_t depth = round_up(K, kStep);
  for (std::int64_t k = 0; k < depth; k += 2) {
    const std::uint16_t* const even = elements(b) + k * b.row_stride;
    std::uint16_t* const out = strips + k / kStep * kStep * kLanes + k % kStep / 2 * kStep;
    for (std::int64_t n = 0; n < N; n += kStripColumns) {
      const auto pairs = interleave(load_up_to_32(even + n, k < K ? N - n : 0),
                                    load_up_to_32(even + b.row_stride + n, k + 1 < K ? N - n : 0));
      _mm512_storeu_si512(out + n * depth, pairs.low);
      _mm512_storeu_si512(out + (n + kLanes) * depth, pairs.high);
    }
  }
}

}  // namespace

WICK_AVX512 void pack_rows(const Operand& a, const std::uint16_t* first, std::int64_t rows,
                           std::int64_t K, std::uint16_t* to) {
  for (std::int64_t m = 0; m < rows; m += kLanes) {
    for (std::int64_t k = 0; k < K; k += kStep) {
      std::uint16_t* const out = to + m * kRowStride + k;
      if (a.column_stride == 1) {
        for (std::int64_t i = 0; i < kLanes; ++i) {
          const std::uint16_t* const row = first + (m + i) * a.row_stride + k;
          _mm512_storeu_si512(out + i * kRowStride, load_up_to_32(row, m + i < rows ? K - k : 0));
        }
        continue;
      }
      __m512i pairs[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        const std::int64_t at = k + 2 * i;
        const std::uint16_t* const even = first + m + at * a.column_stride;
        const std::int64_t count = std::min(kLanes, rows - m);
        pairs[i] = interleave(load_up_to_32(even, at < K ? count : 0),
                              load_up_to_32(even + a.column_stride, at + 1 < K ? count : 0))
                       .low;
      }
      transpose_pairs(pairs, out, kRowStride);
    }
  }
}

}  // namespace bf16

std::int64_t bf16_strips(std::int64_t K, std::int64_t N) {
  return bf16::round_up(K, bf16::kStep) * bf16::round_up(N, bf16::kStripColumns);
}

void pack_bf16_columns(const Operand& b, std::int64_t K, std::int64_t N, BFloat16* strips) {
  // SAFETY: BFloat16 is exactly one uint16_t; vectors alias both.
  auto* const out = reinterpret_cast<std::uint16_t*>(strips);
  if (b.row_stride == 1) {
    bf16::pack_contiguous_columns(b, K, N, out);
  } else {
    bf16::pack_contiguous_rows(b, K, N, out);
  }
}

Bf16Unit bf16_unit(GemmVariant variant) {
  if (active_instruction_set() != instruction_sets().front()) return Bf16Unit::kNone;
  const bool any = variant == GemmVariant::kByShape;
  if ((any || variant == GemmVariant::kAmx) && bf16::has_amx()) return Bf16Unit::kAmx;
  if ((any || variant == GemmVariant::kAvx512Bf16) && bf16::has_avx512()) return Bf16Unit::kAvx512;
  return Bf16Unit::kNone;
}

bool has_bf16_unit(Bf16Unit unit) {
  return unit == Bf16Unit::kAmx ? bf16::has_amx() : bf16::has_avx512();
}

void add_bf16(const Bf16Product& product) {
  if (product.unit == Bf16Unit::kAmx) {
    bf16::add_by_amx(product);
  } else {
    bf16::add_by_avx512(product);
  }
}

}  // namespace wick::cpu
