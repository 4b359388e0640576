#include <immintrin.h>

#include <algorithm>

#include "backends/cpu/bf16_products.hpp"

// What is compiled for processors that multiply bf16: AMX never comes without AVX-512 BF16.
#define WICK_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace wick::cpu {

namespace {

constexpr std::int64_t kLanes = 16;

WICK_BF16 inline __mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFFU : (1U << count) - 1U);
}

WICK_BF16 inline __m256i rounded(__m512 v) {
  // SAFETY: both are 256 bits.
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
}

// What is left of v behind its high part; nothing where that is infinite, which the sum of both is to stay.
WICK_BF16 inline __m512 rest(__m512 v, __m256i high) {
  constexpr int kInfinite = 0x08 | 0x10;
  const __m512 taken = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
  const __mmask16 finite = _knot_mask16(_mm512_fpclass_ps_mask(taken, kInfinite));
  return _mm512_maskz_sub_ps(finite, v, taken);
}

}  // namespace

WICK_BF16 void split_rows(const float* x, std::int64_t rows, std::int64_t columns, float factor,
                          std::span<const Bf16Part> parts, BFloat16* out) {
  const auto width = static_cast<std::int64_t>(parts.size()) * columns;
  const __m512 scale = _mm512_set1_ps(factor);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; j += kLanes) {
      const __mmask16 lanes = first_lanes(columns - j);
      const __m512 v = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(lanes, x + i * columns + j));
      const __m256i high = rounded(v);
      const __m256i low = rounded(rest(v, high));
      BFloat16* to = out + i * width + j;
      for (const Bf16Part part : parts) {
        _mm256_mask_storeu_epi16(to, lanes, part == Bf16Part::kHigh ? high : low);
        to += columns;
      }
    }
  }
}

WICK_BF16 void round_rows(const float* sums, std::int64_t rows, std::int64_t columns, BFloat16* out,
                          std::int64_t out_stride) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const from = sums + i * columns;
    BFloat16* const to = out + i * out_stride;
    std::int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) {
      _mm256_storeu_epi16(to + j, rounded(_mm512_loadu_ps(from + j)));
    }
    if (j == columns) continue;
    const __mmask16 lanes = first_lanes(columns - j);
    _mm256_mask_storeu_epi16(to + j, lanes, rounded(_mm512_maskz_loadu_ps(lanes, from + j)));
  }
}

}  // namespace wick::cpu
