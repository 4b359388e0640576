// Attention's tiles for a few outer items, as of tokens that are decoded one by one: keys and values are multiplied where they
// lie, in their own dtype, and read once. Compiled once per instruction set: include after hwy/foreach_target.h and
// hwy/highway.h.

#if defined(WICK_BACKENDS_CPU_ATTENTION_FEW_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_BACKENDS_CPU_ATTENTION_FEW_INL_HPP
#undef WICK_BACKENDS_CPU_ATTENTION_FEW_INL_HPP
#else
#define WICK_BACKENDS_CPU_ATTENTION_FEW_INL_HPP
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>

#include "backends/cpu/attention_tiles-inl.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/transpose-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// As F32Tiles. Sums are those of short sums too: a tile's are added up before they join those of earlier tiles.
template <class T>
class FewTiles {
 public:
  // Products of whole vectors of outer items waste most lanes on so few.
  static bool suits(std::int64_t outer) { return 2 * outer <= lanes(); }

  FewTiles(Stream& stream, std::int64_t Dh)
      : Dh_(Dh), stride_(round_up_to_lanes(Dh)), memory_(stream, lanes() * stride_) {}

  std::int64_t columns() const { return lanes(); }

  template <class RowAt>
  bool load_outer(Side side, std::int64_t count, const RowAt& row_at) {
    outer_count_ = count;
    for (std::int64_t r = 0; r < count; ++r) {
      for_each_vector(Dh_, [&](std::int64_t d, std::int64_t n) HWY_ATTR {
        store(load_some(row_at(r) + d, n), outer_row(side, r) + d);
      });
    }
    return true;
  }
  template <class RowAt>
  bool load_inner(Side side, std::int64_t count, const RowAt& row_at) {
    inner_count_ = count;
    for (std::int64_t j = 0; j < count; ++j) inner_[side][static_cast<std::size_t>(j)] = row_at(j);
    return true;
  }

  // out [inner, columns] = inner rows · outer rows; a hidden row's are 0.
  void multiply(Side side, float* out) const {
    for (std::int64_t j = 0; j < inner_count_; j += kTogether) {
      const T* rows[kTogether];
      for (std::int64_t i = 0; i < kTogether; ++i) {
        rows[i] = inner_row(side, j + i);
        store(hn::Zero(F32()), out + (j + i) * lanes());
        prefetch(inner_row(side, j + kAhead + i));
        prefetch(inner_row(side == kScored ? kPaired : kScored, j + i));
      }
      in_blocks([&]<int kRows>(std::integral_constant<int, kRows>, std::int64_t r)
                    HWY_ATTR { multiply_block<kRows>(side, rows, r, out + j * lanes() + r); });
    }
  }

  void clear(float* sum) const { std::fill_n(sum, outer_count_ * stride_, 0.0F); }

  // sum [outer, stride] += weightsᵀ rows with weights [inner, columns]. A weight of 0 hides what it is multiplied with,
  // also where that is infinite or NaN.
  void add_weighted(Side side, const float* weights, float* sum) const {
    in_blocks([&]<int kRows>(std::integral_constant<int, kRows>, std::int64_t r) HWY_ATTR {
      std::int64_t d = 0;
      for (; d + kVectors * lanes() <= Dh_; d += kVectors * lanes()) {
        add_block<kRows, kVectors>(side, weights, r, d, sum);
      }
      for (; d < Dh_; d += lanes()) add_block<kRows, 1>(side, weights, r, d, sum);
    });
  }

  void scale(const float* factors, float* sum) const {
    for (std::int64_t r = 0; r < outer_count_; ++r) {
      store_scaled_row(sum + r * stride_, factors[r], stride_, sum + r * stride_);
    }
  }

  void turn_into_rows(float* /*sum*/, std::int64_t /*count*/) const {}
  std::int64_t stride() const { return stride_; }

 private:
  static constexpr std::int64_t kTogether =
      4;                                     // inner rows whose sums across lanes are made together
  static constexpr std::int64_t kAhead = 8;  // inner rows that are on their way
  // Of a block of sums: 16 of them, and what they are made of, need more than the 16 registers of old x86.
  static constexpr int kMostRows = !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX3 ? 4 : 2;
  static constexpr int kVectors = 4;

  // f(rows, first) for the outer items, a few at a time.
  template <class F>
  HWY_INLINE void in_blocks(const F& f) const {
    std::int64_t r = 0;
    for (; r + kMostRows <= outer_count_; r += kMostRows) {
      f(std::integral_constant<int, kMostRows>(), r);
    }
    for (; r < outer_count_; ++r) f(std::integral_constant<int, 1>(), r);
  }

  float* outer_row(Side side, std::int64_t r) const {
    return memory_.data() + (side * lanes() / 2 + r) * stride_;
  }
  // Null where it is hidden, and behind the last.
  const T* inner_row(Side side, std::int64_t j) const {
    return j < inner_count_ ? inner_[side][static_cast<std::size_t>(j)] : nullptr;
  }

  void prefetch(const T* row) const {
    constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
    if (row == nullptr) return;
    for (std::int64_t d = 0; d < Dh_; d += kLine) hwy::Prefetch(row + d);
  }

  // out[i, m] = rows[i] · outer item r + m.
  template <int kRows>
  HWY_INLINE void multiply_block(Side side, const T* const (&rows)[kTogether], std::int64_t r,
                                 float* out) const {
    const float* const outer = outer_row(side, r);
    F32Vec dots[kRows][kTogether];
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < kTogether; ++i) dots[m][i] = hn::Zero(F32());
    }
    for_each_vector(Dh_, [&](std::int64_t d, std::int64_t n) HWY_ATTR {
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < kTogether; ++i) {
        if (rows[i] == nullptr) continue;
        const auto v = load_some(rows[i] + d, n);
#pragma GCC unroll 4
        for (int m = 0; m < kRows; ++m) {
          dots[m][i] = hn::MulAdd(load_some(outer + m * stride_ + d, n), v, dots[m][i]);
        }
      }
    });
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
      float sums[kTogether];
      sum_lanes_of_four(dots[m][0], dots[m][1], dots[m][2], dots[m][3], sums);
      for (std::int64_t i = 0; i < kTogether; ++i) out[i * lanes() + m] = sums[i];
    }
  }

  // kCount vectors of the sums of kRows outer items from r on, from column d on; of one vector, what there is.
  template <int kRows, int kCount>
  HWY_INLINE void add_block(Side side, const float* weights, std::int64_t r, std::int64_t d,
                            float* sum) const {
    const std::int64_t count = std::min(lanes(), Dh_ - d);
    F32Vec sums[kRows][kCount];
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) sums[m][i] = hn::Zero(F32());
    }
    for (std::int64_t j = 0; j < inner_count_; ++j) {
      const T* const row = inner_row(side, j);
      if (row == nullptr) continue;
      F32Vec values[kCount];
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        values[i] = kCount == 1 ? load_some(row + d, count) : load(row + d + i * lanes());
      }
#pragma GCC unroll 4
      for (int m = 0; m < kRows; ++m) {
        const float weight = weights[j * lanes() + r + m];
        if (weight == 0) continue;
        const auto factor = hn::Set(F32(), weight);
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) sums[m][i] = hn::MulAdd(factor, values[i], sums[m][i]);
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        float* const to = sum + (r + m) * stride_ + d + i * lanes();
        store(hn::Add(load(to), sums[m][i]), to);
      }
    }
  }

  std::int64_t Dh_, stride_;
  std::int64_t outer_count_ = 0, inner_count_ = 0;
  ScratchArray<float> memory_;
  std::array<std::array<const T*, kAttentionTile>, 2> inner_{};
};

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
