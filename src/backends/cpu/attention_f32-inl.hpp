// Attention's tiles in f32, for operands of any floating dtype. Compiled once per instruction set: include after
// hwy/foreach_target.h and hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_ATTENTION_F32_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_ATTENTION_F32_INL_HPP
#undef WICK_BACKENDS_CPU_ATTENTION_F32_INL_HPP
#else
#define WICK_BACKENDS_CPU_ATTENTION_F32_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/attention_tiles-inl.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/transpose-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// The operands of one thread, and products of them. An outer item lies along a column of scores, sums belong to outer
// items.
class F32Tiles {
 public:
  F32Tiles(Stream& stream, std::int64_t Dh)
      : Dh_(Dh),
        stride_(round_up_to_lanes(Dh)),
        memory_(stream, 6 * kAttentionTile * stride_),
        inner_{{part(0)}, {part(1)}},
        outer_rows_{{part(2)}, {part(3)}},
        outer_{part(4), part(5)} {}

  // Columns of scores.
  std::int64_t columns() const { return columns_; }

  // row_at(i) is the address of row i, null for zeros. True: whatever the rows hold is taken.
  template <class RowAt>
  bool load_outer(Side side, std::int64_t count, const RowAt& row_at) {
    outer_count_ = count;
    columns_ = round_up_to_lanes(count);
    load_rows(count, row_at, outer_rows_[side]);
    transpose(outer_rows_[side], count, outer_[side]);
    return true;
  }
  template <class RowAt>
  bool load_inner(Side side, std::int64_t count, const RowAt& row_at) {
    inner_count_ = count;
    load_rows(count, row_at, inner_[side]);
    return true;
  }

  // out [inner, columns] = inner rows · outer rows.
  void multiply(Side side, float* out) const {
    tile_product({inner_[side].data, stride_, 1}, {outer_[side], columns_}, {out, columns_, false},
                 {inner_count_, Dh_, columns_});
  }

  // Floats of a sum, and what clears one.
  std::int64_t sum_floats() const { return kAttentionTile * stride_; }
  void clear(float* sum) const { std::fill_n(sum, outer_count_ * stride_, 0.0F); }

  // sum [outer, stride] += weightsᵀ rows with weights [inner, columns]. A weight of 0 hides what it is multiplied with,
  // also where that is infinite or NaN.
  void add_weighted(Side side, const float* weights, float* sum) const {
    add_rows({weights, 1, columns_}, inner_[side], {outer_count_, inner_count_, stride_}, sum);
  }
  // The other way around: sum [inner, stride] += weights · rows of the outer tile.
  void add_weighted_outer(Side side, const float* weights, float* sum) const {
    add_rows({weights, columns_, 1}, outer_rows_[side], {inner_count_, outer_count_, stride_}, sum);
  }

  // The sum of outer item r is multiplied with factors[r].
  void scale(const float* factors, float* sum) const {
    for (std::int64_t r = 0; r < outer_count_; ++r) {
      store_scaled_row(sum + r * stride_, factors[r], stride_, sum + r * stride_);
    }
  }

  // Leaves the rows of a sum of `count` items stride() apart.
  void turn_into_rows(float* /*sum*/, std::int64_t /*count*/) const {}
  std::int64_t stride() const { return stride_; }

 private:
  // Up to kAttentionTile rows in f32, padded with zeros to whole vectors.
  struct Rows {
    float* data;
    bool finite = true;  // false: some element is infinite or NaN
  };

  float* part(std::int64_t i) { return memory_.data() + i * kAttentionTile * stride_; }

  // sum += weights · rows
  void add_rows(const LeftFactor& weights, const Rows& rows, const ProductSize& size,
                float* sum) const {
    const Product to{sum, stride_, true};
    if (rows.finite) {
      tile_product(weights, {rows.data, stride_}, to, size);
    } else {
      tile_product_without_zeros(weights, {rows.data, stride_}, to, size);
    }
  }

  template <class RowAt>
  void load_rows(std::int64_t count, const RowAt& row_at, Rows& to) const {
    auto zero_or_nan = hn::Zero(F32());
    for (std::int64_t i = 0; i < count; ++i) {
      const auto* const row = row_at(i);
      float* const out = to.data + i * stride_;
      if (row == nullptr) {
        std::fill_n(out, stride_, 0.0F);
        continue;
      }
      for_each_vector(Dh_, [&](std::int64_t d, std::int64_t n) HWY_ATTR {
        const auto v = load_some(row + d, n);
        zero_or_nan = hn::Or(zero_or_nan, hn::Sub(v, v));  // ∞ − ∞ is NaN
        store(v, out + d);
      });
    }
    to.finite = hn::AllFalse(F32(), hn::IsNaN(zero_or_nan));
  }

  // to[d, i] = from[i, d], with zeros for the columns from count on.
  void transpose(const Rows& from, std::int64_t count, float* to) const {
    transpose_rows(from.data, stride_, count, Dh_, to, columns_);
    for (std::int64_t d = 0; d < Dh_ && count < columns_; ++d) {
      std::fill(to + d * columns_ + count, to + (d + 1) * columns_, 0.0F);
    }
  }

  std::int64_t Dh_, stride_;
  std::int64_t outer_count_ = 0, inner_count_ = 0, columns_ = 0;
  ScratchArray<float> memory_;
  Rows inner_[2];       // [inner, Dh]
  Rows outer_rows_[2];  // [outer, Dh]
  float* outer_[2];     // the same as [Dh, columns]
};

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
