// Attention's tiles by what multiplies bf16, for operands of that. Compiled once per instruction set: include after
// hwy/foreach_target.h and hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_ATTENTION_BF16_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_ATTENTION_BF16_INL_HPP
#undef WICK_BACKENDS_CPU_ATTENTION_BF16_INL_HPP
#else
#define WICK_BACKENDS_CPU_ATTENTION_BF16_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/attention_tiles-inl.hpp"
#include "backends/cpu/bf16_products.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/transpose-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// As F32Tiles, which takes what is refused here: rows that hold an infinity or NaN, which a weight of 0 has to hide. Weights
// are f32 and become sums of two numbers of bf16, which keep 16 bits of them.
class Bf16Tiles {
 public:
  Bf16Tiles(Stream& stream, std::int64_t Dh)
      : Dh_(Dh),
        depth_((Dh + kBf16Step - 1) / kBf16Step * kBf16Step),
        bf16_(stream, 6 * kAttentionTile * depth_ + 2 * kAttentionTile * kAttentionTile),
        turned_(stream, std::max(sum_floats(), kAttentionTile * kAttentionTile)),
        inner_{part(0), part(1)},
        outer_rows_{part(2), part(3)},
        outer_{part(4), part(5)},
        high_(part(6)),
        low_(high_ + kAttentionTile * kAttentionTile) {
    if (Dh <= kBf16Depth) unit_ = bf16_unit(gemm_variant());
  }

  // Whether there is such a unit, and an outer tile of so many items is worth it: tiles would be zeros for the most part.
  bool take(std::int64_t outer) const { return unit_ != Bf16Unit::kNone && outer >= kLeastOuter; }

  std::int64_t columns() const { return columns_; }

  template <class RowAt>
  bool load_outer(Side side, std::int64_t count, const RowAt& row_at) {
    outer_count_ = count;
    columns_ = round_up_to_lanes(count);
    if (!load_rows(count, row_at, outer_rows_[side])) return false;
    pack_bf16_columns(turned(outer_rows_[side]), depth_, count, outer_[side]);
    return true;
  }
  template <class RowAt>
  bool load_inner(Side side, std::int64_t count, const RowAt& row_at) {
    inner_count_ = count;
    return load_rows(count, row_at, inner_[side]);
  }

  void multiply(Side side, float* out) const {
    add_bf16({.unit = unit_,
              .M = inner_count_,
              .N = columns_,
              .K = depth_,
              .alpha = 1,
              .accumulate = false,
              .a = {.data = inner_[side], .dtype = DType::kBF16, .row_stride = depth_},
              .strips = outer_[side],
              .c = out,
              .c_stride = columns_});
  }

  // A sum of as many items as fill so many columns is [Dh, columns] until it is turned.
  std::int64_t sum_floats() const { return kAttentionTile * round_up_to_lanes(Dh_); }
  void clear(float* sum) const { std::fill_n(sum, Dh_ * columns_, 0.0F); }

  void add_weighted(Side side, const float* weights, float* sum) const {
    add_rows(weights, columns_, inner_[side], inner_count_, sum);
  }
  void add_weighted_outer(Side side, const float* weights, float* sum) const {
    const std::int64_t columns = round_up_to_lanes(inner_count_);
    transpose_rows(weights, columns_, inner_count_, outer_count_, turned_.data(), columns);
    for (std::int64_t k = 0; k < outer_count_ && inner_count_ < columns; ++k) {
      std::fill(turned_.data() + k * columns + inner_count_, turned_.data() + (k + 1) * columns,
                0.0F);
    }
    add_rows(turned_.data(), columns, outer_rows_[side], outer_count_, sum);
  }

  void scale(const float* factors, float* sum) const {
    for (std::int64_t d = 0; d < Dh_; ++d) {
      float* const row = sum + d * columns_;
      for (std::int64_t c = 0; c < columns_; c += lanes()) {
        store(hn::Mul(load(row + c), load(factors + c)), row + c);
      }
    }
  }

  void turn_into_rows(float* sum, std::int64_t count) const {
    transpose_rows(sum, round_up_to_lanes(count), Dh_, count, turned_.data(), stride());
    std::copy_n(turned_.data(), count * stride(), sum);
  }
  std::int64_t stride() const { return round_up_to_lanes(Dh_); }

 private:
  static constexpr std::int64_t kBf16Step = 32;  // of what is taken along a sum
  static constexpr std::int64_t kLeastOuter = 16;

  BFloat16* part(std::int64_t i) { return bf16_.data() + i * kAttentionTile * depth_; }

  // Rows as the columns of a factor.
  Operand turned(const BFloat16* rows) const {
    return {.data = rows, .dtype = DType::kBF16, .row_stride = 1, .column_stride = depth_};
  }

  // sum [Dh, columns] += rowsᵀ weights with weights [count, columns].
  void add_rows(const float* weights, std::int64_t columns, const BFloat16* rows,
                std::int64_t count, float* sum) const {
    split_weights(weights, count, columns);
    add_bf16({.unit = unit_,
              .M = Dh_,
              .N = columns,
              .K = count,
              .alpha = 1,
              .accumulate = true,
              .a = turned(rows),
              .strips = high_,
              .strips_low = low_,
              .c = sum,
              .c_stride = columns});
  }

  // Rows depth_ apart, filled up with zeros; false: some element is infinite or NaN.
  template <class RowAt>
  bool load_rows(std::int64_t count, const RowAt& row_at, BFloat16* to) const {
    const hn::ScalableTag<std::uint16_t> d;
    const auto step = static_cast<std::int64_t>(hn::Lanes(d));
    const auto exponent = hn::Set(d, 0x7F80);
    auto special = hn::Zero(d);
    for (std::int64_t i = 0; i < count; ++i) {
      const BFloat16* const row = row_at(i);
      // SAFETY: BFloat16 is exactly one uint16_t; vectors alias both.
      auto* const out = reinterpret_cast<std::uint16_t*>(to + i * depth_);
      if (row == nullptr || Dh_ < depth_) std::fill_n(out, depth_, std::uint16_t{0});
      if (row == nullptr) continue;
      // SAFETY: as above.
      const auto* const from = reinterpret_cast<const std::uint16_t*>(row);
      std::int64_t k = 0;
      for (; k + step <= Dh_; k += step) {
        const auto v = hn::LoadU(d, from + k);
        special = hn::Or(special, hn::VecFromMask(d, hn::Eq(hn::And(v, exponent), exponent)));
        hn::StoreU(v, d, out + k);
      }
      for (; k < Dh_; ++k) {
        out[k] = from[k];
        if ((from[k] & 0x7F80) == 0x7F80) return false;
      }
    }
    return hn::AllTrue(d, hn::Eq(special, hn::Zero(d)));
  }

  // Two rows of weights side by side as pairs of 16 bits: what their first 16 bits hold, and what the rest rounds to.
  HWY_INLINE void split_pair(F32Vec even, F32Vec odd, std::uint32_t* high,
                             std::uint32_t* low) const {
    const hn::Rebind<std::uint32_t, F32> d;
    const auto upper = hn::Set(d, 0xFFFF0000U), half = hn::Set(d, 0x8000U);
    const auto even_high = hn::And(hn::BitCast(d, even), upper);
    const auto odd_high = hn::And(hn::BitCast(d, odd), upper);
    const auto even_rest =
        hn::Add(hn::BitCast(d, hn::Sub(even, hn::BitCast(F32(), even_high))), half);
    const auto odd_rest = hn::Add(hn::BitCast(d, hn::Sub(odd, hn::BitCast(F32(), odd_high))), half);
    hn::StoreU(hn::Or(hn::ShiftRight<16>(even_high), odd_high), d, high);
    hn::StoreU(hn::Or(hn::ShiftRight<16>(even_rest), hn::And(odd_rest, upper)), d, low);
  }

  // weights [count, columns] into strips as pack_bf16_columns() would leave them, with zeros behind the last row.
  void split_weights(const float* weights, std::int64_t count, std::int64_t columns) const {
    // SAFETY: pairs of BFloat16 are stored as one element of 32 bits; vectors alias both.
    auto* const high = reinterpret_cast<std::uint32_t*>(high_);
    // SAFETY: as above.
    auto* const low = reinterpret_cast<std::uint32_t*>(low_);
    const std::int64_t depth = (count + kBf16Step - 1) / kBf16Step * kBf16Step;
    for (std::int64_t k = 0; k < depth; k += 2) {
      const float* const row = weights + k * columns;
      for (std::int64_t c = 0; c < columns; c += lanes()) {
        const auto even = k < count ? load(row + c) : hn::Zero(F32());
        const auto odd = k + 1 < count ? load(row + columns + c) : hn::Zero(F32());
        const std::int64_t at = bf16_pair(depth, k, c);
        split_pair(even, odd, high + at, low + at);
      }
    }
  }

  Bf16Unit unit_ = Bf16Unit::kNone;
  std::int64_t Dh_, depth_;
  std::int64_t outer_count_ = 0, inner_count_ = 0, columns_ = 0;
  ScratchArray<BFloat16> bf16_;
  ScratchArray<float> turned_;
  BFloat16* inner_[2];       // [inner, depth]
  BFloat16* outer_rows_[2];  // [outer, depth]
  BFloat16* outer_[2];       // the same as strips of [depth, columns]
  BFloat16* high_;           // strips of weights
  BFloat16* low_;
};

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
