// Transposition and sums across vectors of f32. Compiled once per instruction set: include after hwy/foreach_target.h and
// hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_TRANSPOSE_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_TRANSPOSE_INL_HPP
#undef WICK_BACKENDS_CPU_TRANSPOSE_INL_HPP
#else
#define WICK_BACKENDS_CPU_TRANSPOSE_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

#include "backends/cpu/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
using F32Block = hn::FixedTag<float, 4>;

HWY_INLINE hn::Vec<F32Block> load_block(const float* p) { return hn::LoadU(F32Block(), p); }

// Four elements of every fourth row from p on, one row to a block of 128 bits.
template <class D>
HWY_INLINE hn::Vec<D> load_blocks(D d, const float* p, std::int64_t row_stride) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return load_block(p);
  } else {
    const hn::Half<D> half;
    const auto low = load_blocks(half, p, row_stride);
    return hn::Combine(d, load_blocks(half, p + hn::MaxLanes(D()) / 2 * row_stride, row_stride),
                       low);
  }
}

// to[k][0:lanes] = from[0:lanes][k] for k < 4.
HWY_INLINE void transpose_four_columns(const float* from, std::int64_t row_stride, float* to,
                                       std::int64_t to_stride) {
  const F32 d;
  const hn::RepartitionToWide<hn::RebindToUnsigned<F32>> wide;
  const auto r0 = load_blocks(d, from, row_stride);
  const auto r1 = load_blocks(d, from + row_stride, row_stride);
  const auto r2 = load_blocks(d, from + 2 * row_stride, row_stride);
  const auto r3 = load_blocks(d, from + 3 * row_stride, row_stride);
  const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(wide, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(wide, hn::InterleaveUpper(d, r2, r3));
  store(hn::BitCast(d, hn::InterleaveLower(wide, low01, low23)), to);
  store(hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23)), to + to_stride);
  store(hn::BitCast(d, hn::InterleaveLower(wide, high01, high23)), to + 2 * to_stride);
  store(hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23)), to + 3 * to_stride);
}

// to[k][0:lanes] = from[0:lanes][k] for k < lanes. By way of a small block, since rows that are a power of two apart fall
// into one set of the first-level cache.
template <class T>
HWY_INLINE void transpose_block(const T* from, std::int64_t row_stride, float* to,
                                std::int64_t to_stride) {
  constexpr std::int64_t kStride = hn::MaxLanes(F32());
  HWY_ALIGN float block[hn::MaxLanes(F32()) * kStride];
  for (std::int64_t i = 0; i < lanes(); ++i)
    store(load(from + i * row_stride), block + i * kStride);
  for (std::int64_t k = 0; k < lanes(); k += 4) {
    transpose_four_columns(block + k, kStride, to + k * to_stride, to_stride);
  }
}
#endif

// to [columns, rows], rows to_stride apart, = from [rows, columns]ᵀ.
template <class T>
void transpose_rows(const T* from, std::int64_t row_stride, std::int64_t rows, std::int64_t columns,
                    float* to, std::int64_t to_stride) {
  const auto one_by_one = [&](std::int64_t m, std::int64_t count, std::int64_t k) {
    for (; k < columns; ++k) {
      for (std::int64_t i = m; i < m + count; ++i) {
        to[k * to_stride + i] = static_cast<float>(from[i * row_stride + k]);
      }
    }
  };
  std::int64_t m = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; m + lanes() <= rows; m += lanes()) {
    std::int64_t k = 0;
    for (; k + lanes() <= columns; k += lanes()) {
      transpose_block(from + m * row_stride + k, row_stride, to + k * to_stride + m, to_stride);
    }
    if constexpr (std::is_same_v<T, float>) {
      for (; k + 4 <= columns; k += 4) {
        transpose_four_columns(from + m * row_stride + k, row_stride, to + k * to_stride + m,
                               to_stride);
      }
    }
    one_by_one(m, lanes(), k);
  }
#endif
  one_by_one(m, rows - m, 0);
}

#if HWY_TARGET != HWY_SCALAR
// Four lanes of each vector make one: block i has their sums over the lanes 4 i to 4 i + 3 of a, of b, of c and of d.
HWY_INLINE F32Vec sum_blocks_of_four(F32Vec a, F32Vec b, F32Vec c, F32Vec d) {
  const F32 f;
  const hn::RepartitionToWide<hn::RebindToUnsigned<F32>> wide;
  const auto ab =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(f, a, b), hn::InterleaveUpper(f, a, b)));
  const auto cd =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(f, c, d), hn::InterleaveUpper(f, c, d)));
  return hn::Add(hn::BitCast(f, hn::InterleaveLower(wide, ab, cd)),
                 hn::BitCast(f, hn::InterleaveUpper(wide, ab, cd)));
}
#endif

// to[0:4] = the sums of the lanes of four vectors.
HWY_INLINE void sum_lanes_of_four(F32Vec a, F32Vec b, F32Vec c, F32Vec d, float* to) {
#if HWY_TARGET == HWY_SCALAR
  to[0] = sum_lanes(a), to[1] = sum_lanes(b), to[2] = sum_lanes(c), to[3] = sum_lanes(d);
#else
  HWY_ALIGN float sums[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(sum_blocks_of_four(a, b, c, d), F32(), sums);
  auto total = hn::Load(F32Block(), sums);
  for (std::int64_t i = 4; i < lanes(); i += 4)
    total = hn::Add(total, hn::Load(F32Block(), sums + i));
  hn::StoreU(total, F32Block(), to);
#endif
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
