// What attention's tiles are made of: products in registers, rows of operands and masks. Compiled
// once per instruction set: include after hwy/foreach_target.h and hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_ATTENTION_TILES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_ATTENTION_TILES_INL_HPP
#undef WICK_BACKENDS_CPU_ATTENTION_TILES_INL_HPP
#else
#define WICK_BACKENDS_CPU_ATTENTION_TILES_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/attention_mask.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/softmax_rows-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

HWY_INLINE std::int64_t round_up_to_lanes(std::int64_t n) {
  return (n + lanes() - 1) / lanes() * lanes();
}

// ---- Products -----------------------------------------------------------------------------------

// kVectors neighbouring vectors of a row, each in a register of its own.
template <int kVectors>
struct RowPart {
  using Half = RowPart<kVectors / 2>;
  Half low, high;

  // Not the compiler's own: to GCC that is none of the instruction set, and it inlines nothing of one.
  HWY_INLINE RowPart() {}
  HWY_INLINE RowPart(const Half& first, const Half& second) : low(first), high(second) {}

  static HWY_INLINE RowPart zero() { return {Half::zero(), Half::zero()}; }
  static HWY_INLINE RowPart load_from(const float* p) {
    return {Half::load_from(p), Half::load_from(p + kVectors / 2 * lanes())};
  }
  HWY_INLINE void add_product(F32Vec factor, const RowPart& row) {
    low.add_product(factor, row.low);
    high.add_product(factor, row.high);
  }
  HWY_INLINE void add(const RowPart& other) {
    low.add(other.low);
    high.add(other.high);
  }
  HWY_INLINE void store_to(float* p) const {
    low.store_to(p);
    high.store_to(p + kVectors / 2 * lanes());
  }
};

template <>
struct RowPart<1> {
  F32Vec v;

  HWY_INLINE RowPart() {}
  HWY_INLINE explicit RowPart(F32Vec vector) : v(vector) {}

  static HWY_INLINE RowPart zero() { return RowPart(hn::Zero(F32())); }
  static HWY_INLINE RowPart load_from(const float* p) { return RowPart(load(p)); }
  HWY_INLINE void add_product(F32Vec factor, const RowPart& row) {
    v = hn::MulAdd(factor, row.v, v);
  }
  HWY_INLINE void add(const RowPart& other) { v = hn::Add(v, other.v); }
  HWY_INLINE void store_to(float* p) const { store(v, p); }
};

// The factor whose elements are read one at a time: (m, k) is at data[m · row + k · column].
struct LeftFactor {
  const float* data;
  std::int64_t row;
  std::int64_t column;
};

// Rows of floats `stride` apart; the columns that are used are whole vectors.
struct RightFactor {
  const float* data;
  std::int64_t stride;
};

struct Product {
  float* data;
  std::int64_t stride;
  bool accumulate;  // false: what was there is not read
};

struct ProductSize {
  std::int64_t M, K, N;  // N is a multiple of lanes()
};

// c[0:kRows, part] (+)= a[0:kRows, 0:K] b[0:K, part]
template <class Part, int kRows>
void product_of_rows(const LeftFactor& a, const RightFactor& b, const Product& c, std::int64_t K) {
  Part sums[kRows];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    sums[m] = Part::zero();
  }
  const float* left = a.data;
  const float* right = b.data;
  for (std::int64_t k = 0; k < K; ++k) {
    const Part row = Part::load_from(right);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) sums[m].add_product(hn::Set(F32(), left[m * a.row]), row);
    left += a.column;
    right += b.stride;
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    if (c.accumulate) sums[m].add(Part::load_from(c.data + m * c.stride));
    sums[m].store_to(c.data + m * c.stride);
  }
}

// c[0, part] (+)= a[0, 0:K] b[0:K, part]
template <class Part>
void product_of_one_row(const LeftFactor& a, const RightFactor& b, const Product& c,
                        std::int64_t K) {
  Part sum = Part::zero();
  for (std::int64_t k = 0; k < K; ++k) {
    sum.add_product(hn::Set(F32(), a.data[k * a.column]), Part::load_from(b.data + k * b.stride));
  }
  if (c.accumulate) sum.add(Part::load_from(c.data));
  sum.store_to(c.data);
}

// Columns from `begin` on as long as whole parts fit; returns where it stopped. The part of b that
// is used stays in the first-level cache while the rows of a pass by.
template <class Part>
std::int64_t product_of_parts(const LeftFactor& a, const RightFactor& b, const Product& c,
                              const ProductSize& size, std::int64_t begin, std::int64_t width) {
  std::int64_t n = begin;
  for (; n + width <= size.N; n += width) {
    const RightFactor b_part{b.data + n, b.stride};
    for (std::int64_t m = 0; m < size.M;) {
      const LeftFactor a_part{a.data + m * a.row, a.row, a.column};
      const Product c_part{c.data + m * c.stride + n, c.stride, c.accumulate};
#if !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX3  // 24 sums need more than 16 registers
      if (m + 6 <= size.M) {
        product_of_rows<Part, 6>(a_part, b_part, c_part, size.K);
        m += 6;
        continue;
      }
#endif
      if (m + 4 <= size.M) {
        product_of_rows<Part, 4>(a_part, b_part, c_part, size.K);
        m += 4;
      } else {
        product_of_one_row<Part>(a_part, b_part, c_part, size.K);
        m += 1;
      }
    }
  }
  return n;
}

// c (+)= a b. Every element is summed in the order of k and then added to c, so that a sum over many tiles is one of short
// sums: at 1024 keys half the error of one long sum.
inline void tile_product(const LeftFactor& a, const RightFactor& b, const Product& c,
                         const ProductSize& size) {
  std::int64_t n = 0;
// Four rows of four vectors and what they are made of need more than the 16 registers of old x86.
#if !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX3
  n = product_of_parts<RowPart<4>>(a, b, c, size, n, 4 * lanes());
#endif
  n = product_of_parts<RowPart<2>>(a, b, c, size, n, 2 * lanes());
  product_of_parts<RowPart<1>>(a, b, c, size, n, lanes());
}

// As tile_product with accumulation; where a is 0 the row of b is not looked at, whatever it holds.
inline void tile_product_without_zeros(const LeftFactor& a, const RightFactor& b, const Product& c,
                                       const ProductSize& size) {
  for (std::int64_t m = 0; m < size.M; ++m) {
    for (std::int64_t k = 0; k < size.K; ++k) {
      const float factor = a.data[m * a.row + k * a.column];
      if (factor == 0) continue;
      const auto vfactor = hn::Set(F32(), factor);
      for (std::int64_t n = 0; n < size.N; n += lanes()) {
        float* const to = c.data + m * c.stride + n;
        store(hn::MulAdd(vfactor, load(b.data + k * b.stride + n), load(to)), to);
      }
    }
  }
}

// ---- Rows of operands ---------------------------------------------------------------------------

// What a pass reads: of the outer tile, which it owns, and of inner ones, which it walks over, `kScored` makes the scores
// (queries, keys) and `kPaired` is weighted by them or makes the gradients of the weights (values, gradients of the result).
enum Side { kScored, kPaired };

// Where keys or values of key head hkv are in a view [B,S,Hkv,Dh], by their index in `keys`; null for hidden ones, which
// stand for zeros.
template <class T>
auto key_rows(const TensorView& view, std::int64_t b, std::int64_t hkv, const TileItems& keys) {
  const T* const first = data_as<const T>(view) + b * view.stride(0) +
                         keys.first() * view.stride(1) + hkv * view.stride(2);
  return [first, stride = view.stride(1), &keys](std::int64_t i) -> const T* {
    return keys.hidden[static_cast<std::size_t>(i)] ? nullptr : first + i * stride;
  };
}

// Rows [first, first + count) of the matrix that the query heads of key head hkv make in batch b.
struct RowTile {
  std::int64_t b, hkv, first, count;
};

// Where they are in a view [B,T,H,Dh].
template <class T>
auto query_rows(const TensorView& view, const AttentionProblem& p, const RowTile& tile) {
  const T* const base =
      data_as<const T>(view) + tile.b * view.stride(0) + tile.hkv * p.group * view.stride(2);
  return [base, first = tile.first, group = p.group, time = view.stride(1),
          head = view.stride(2)](std::int64_t i) {
    const std::int64_t r = first + i;
    return base + r / group * time + r % group * head;
  };
}

// out[0:D] = factor · row, rounded to T.
template <class T>
void store_scaled_row(const float* row, float factor, std::int64_t D, T* out) {
  const auto vfactor = hn::Set(F32(), factor);
  for_each_vector(D, [&](std::int64_t d, std::int64_t n)
                         HWY_ATTR { store_some(hn::Mul(load(row + d), vfactor), out + d, n); });
}

// ---- Masks --------------------------------------------------------------------------------------

// Which of the columns from c on see inner item i.
HWY_INLINE hn::Mask<F32> visible_columns(const TileMask& mask, std::int64_t i, std::int64_t c) {
  const auto place = hn::Set(F32(), mask.place[static_cast<std::size_t>(i)]);
  const auto in_interval =
      hn::And(hn::Ge(place, load(mask.begin.data() + c)), hn::Lt(place, load(mask.end.data() + c)));
  if (mask.column_segments == nullptr) return in_interval;
  const hn::Rebind<std::int32_t, F32> d;
  const auto same =
      hn::Eq(hn::Set(d, mask.inner_segments[i]), hn::LoadU(d, mask.column_segments + c));
  return hn::And(in_interval, hn::RebindMask(F32(), same));
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
