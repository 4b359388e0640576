#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/select.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/reduce_args.hpp"

#ifndef WICK_BACKENDS_CPU_KERNELS_SELECT_RANKS
#define WICK_BACKENDS_CPU_KERNELS_SELECT_RANKS
namespace wick::cpu {
namespace {

// A place in the order of values: larger values have larger ranks, every NaN has the largest, and
// −0 has that of 0.
using Rank = std::int64_t;
constexpr Rank kLargestRank = std::numeric_limits<Rank>::max();

inline Rank rank_of(float value) {
  if (value != value) return kLargestRank;
  const auto bits = std::bit_cast<std::int32_t>(value);
  return bits >= 0 ? bits : -Rank{bits & std::numeric_limits<std::int32_t>::max()};
}
inline Rank rank_of(Half value) { return rank_of(static_cast<float>(value)); }
inline Rank rank_of(BFloat16 value) { return rank_of(static_cast<float>(value)); }
inline Rank rank_of(std::int32_t value) { return value; }
inline Rank rank_of(std::int64_t value) { return value; }

// The float of a rank that is not that of NaN.
inline float float_of_rank(Rank rank) {
  const auto magnitude = std::bit_cast<float>(static_cast<std::int32_t>(rank < 0 ? -rank : rank));
  return rank < 0 ? -magnitude : magnitude;
}

struct Entry {
  Rank rank;
  std::int64_t index;
};

inline bool comes_first(const Entry& a, const Entry& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.index < b.index;
}

// The K best of the elements offered so far, and some more. Elements come in the order of their
// index, so a later one that only equals the K-th best is not among them.
class Candidates {
 public:
  // Room for twice K makes the cost of dropping the worse half constant per element.
  static std::int64_t capacity(std::int64_t K, std::int64_t D) {
    constexpr std::int64_t kFewest = 512;
    return std::min(D, std::max(2 * K, kFewest));
  }

  // `entries` has capacity(K, D) elements.
  Candidates(Entry* entries, std::int64_t K, std::int64_t D)
      : entries_(entries), K_(K), capacity_(capacity(K, D)) {}

  // Whether elements up to threshold() can be passed over.
  bool has_threshold() const { return has_threshold_; }
  Rank threshold() const { return threshold_; }

  void offer(Rank rank, std::int64_t index) {
    if (has_threshold_ && rank <= threshold_) return;
    if (size_ == capacity_) {
      keep_best();
      if (rank <= threshold_) return;
    }
    entries_[size_++] = {rank, index};
  }

  // The K best in order.
  const Entry* finish() {
    keep_best();
    std::sort(entries_, entries_ + K_, comes_first);
    return entries_;
  }

 private:
  void keep_best() {
    std::nth_element(entries_, entries_ + K_ - 1, entries_ + size_, comes_first);
    size_ = K_;
    threshold_ = entries_[K_ - 1].rank;
    has_threshold_ = true;
  }

  Entry* entries_;
  std::int64_t K_;
  std::int64_t capacity_;
  std::int64_t size_ = 0;
  Rank threshold_ = 0;
  bool has_threshold_ = false;
};

// Columns that a task searches at a time, so that a single long row occupies many threads.
constexpr std::int64_t kSegmentColumns = 16384;

}  // namespace
}  // namespace wick::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// ---- Argmax -------------------------------------------------------------------------------------

// The first position of [begin, end) that has the largest rank; x[i · stride].
template <class T>
std::int64_t argmax_by_rank(const T* x, std::int64_t stride, std::int64_t begin, std::int64_t end) {
  std::int64_t best = begin;
  Rank best_rank = rank_of(x[begin * stride]);
  for (std::int64_t i = begin + 1; i < end && best_rank != kLargestRank; ++i) {
    const Rank rank = rank_of(x[i * stride]);
    if (rank > best_rank) {
      best_rank = rank;
      best = i;
    }
  }
  return best;
}

// The largest of n floats, or NaN where there is one.
template <class T>
float largest(const T* x, std::int64_t n) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  auto best = hn::Set(F32(), kLowest);
  auto nans = hn::IsNaN(best);
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto v = load_some(x + i, count, kLowest);
    nans = hn::Or(nans, hn::IsNaN(v));
    best = hn::Max(best, v);
  });
  if (!hn::AllFalse(F32(), nans)) return std::numeric_limits<float>::quiet_NaN();
  return max_lanes(best);
}

// As argmax_by_rank for dense floats: finds the part with the largest element, then its position.
template <class T>
std::int64_t argmax_of_floats(const T* x, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kPart = 1024;
  std::int64_t best_part = begin;
  float best = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = begin; i < end; i += kPart) {
    const float value = largest(x + i, std::min(kPart, end - i));
    if (value <= best) continue;
    best = value;
    best_part = i;
    if (value != value) break;
  }
  return argmax_by_rank(x, 1, best_part, std::min(best_part + kPart, end));
}

// x [R,D]; found [R, segments] receives the best position of each segment of a row. A task owns
// segments.
template <class T>
void argmax_segments(Stream& stream, const TensorView& view, std::int64_t segments,
                     std::int64_t* found) {
  const T* const x = data_as<const T>(view);
  const std::int64_t D = view.dim(1);
  const std::int64_t step = view.stride(1);
  const std::int64_t grain = row_grain(std::min(D, kSegmentColumns));
  parallel_for(stream, view.dim(0) * segments, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const T* const row = x + i / segments * view.stride(0);
      const std::int64_t begin = i % segments * kSegmentColumns;
      const std::int64_t end = std::min(D, begin + kSegmentColumns);
      if constexpr (!std::is_integral_v<T>) {
        if (step == 1) {
          found[i] = argmax_of_floats(row, begin, end);
          continue;
        }
      }
      found[i] = argmax_by_rank(row, step, begin, end);
    }
  });
}

// indices [R]: the best of each row's segments, the first of equals; values [R] may be null.
template <class T>
void argmax_rows(Stream& stream, const ArgmaxArgs& args) {
  const std::int64_t R = args.x.dim(0);
  const std::int64_t segments = (args.x.dim(1) + kSegmentColumns - 1) / kSegmentColumns;
  const ScratchArray<std::int64_t> found(stream, R * segments);
  argmax_segments<T>(stream, args.x, segments, found.data());
  const T* const x = data_as<const T>(args.x);
  const std::int64_t step = args.x.stride(1);
  std::int64_t* const indices = data_as<std::int64_t>(args.indices);
  T* const values = args.values ? data_as<T>(args.values) : nullptr;
  parallel_for(stream, R, row_grain(segments), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* const row = x + r * args.x.stride(0);
      std::int64_t best = found[r * segments];
      for (std::int64_t s = 1; s < segments; ++s) {
        const std::int64_t other = found[r * segments + s];
        if (rank_of(row[other * step]) > rank_of(row[best * step])) best = other;
      }
      indices[r] = best;
      if (values != nullptr) values[r] = row[best * step];
    }
  });
}

// ---- Top K --------------------------------------------------------------------------------------

// Offers x[i · stride] for i in [begin, end).
template <class T>
void offer_each(Candidates& best, const T* x, std::int64_t stride, std::int64_t begin,
                std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) best.offer(rank_of(x[i * stride]), i);
}

// Offers dense floats; vectors without a candidate are passed over.
template <class T>
void offer_floats(Candidates& best, const T* x, std::int64_t D) {
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + step <= D; i += step) {
    if (best.has_threshold()) {
      if (best.threshold() == kLargestRank) return;
      const auto threshold = hn::Set(F32(), float_of_rank(best.threshold()));
      if (hn::AllTrue(F32(), hn::Le(load(x + i), threshold))) continue;  // NaN is not <=
    }
    offer_each(best, x, 1, i, i + step);
  }
  offer_each(best, x, 1, i, D);
}

// x [R,D], values and indices [R,K]. A task owns rows.
template <class T>
void top_k_rows(Stream& stream, const TopKArgs& args) {
  const T* const x = data_as<const T>(args.x);
  T* const values = data_as<T>(args.values);
  std::int64_t* const indices = data_as<std::int64_t>(args.indices);
  const std::int64_t D = args.x.dim(1);
  const std::int64_t K = args.values.dim(1);
  const std::int64_t step = args.x.stride(1);
  parallel_for(stream, args.x.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
    const ScratchArray<Entry> entries(stream, Candidates::capacity(K, D));
    for (std::int64_t r = begin; r < end; ++r) {
      const T* const row = x + r * args.x.stride(0);
      Candidates best(entries.data(), K, D);
      if constexpr (std::is_integral_v<T>) {
        offer_each(best, row, step, 0, D);
      } else if (step == 1) {
        offer_floats(best, row, D);
      } else {
        offer_each(best, row, step, 0, D);
      }
      const Entry* const chosen = best.finish();
      for (std::int64_t k = 0; k < K; ++k) {
        indices[r * K + k] = chosen[k].index;
        values[r * K + k] = row[chosen[k].index * step];
      }
    }
  });
}

// ---- Scatter ------------------------------------------------------------------------------------

// dx[0, D) = 0, then dx[indices[k]] += dy[k] in the order of k.
template <class T>
void scatter_row(const T* dy, const std::int64_t* indices, T* dx, std::int64_t K, std::int64_t D) {
  std::fill_n(dx, D, T{});
  for (std::int64_t k = 0; k < K; ++k) {
    T& target = dx[indices[k]];
    if constexpr (std::is_integral_v<T>) {  // overflow wraps around
      using U = std::make_unsigned_t<T>;
      target = static_cast<T>(static_cast<U>(target) + static_cast<U>(dy[k]));
    } else {
      target += dy[k];
    }
  }
}

// As above through a row of totals, so that elements that meet are rounded once.
template <class T>
void scatter_row_rounded(const T* dy, const std::int64_t* indices, float* totals, T* dx,
                         std::int64_t K, std::int64_t D) {
  std::fill_n(totals, D, 0.0F);
  for (std::int64_t k = 0; k < K; ++k) totals[indices[k]] += static_cast<float>(dy[k]);
  for_each_vector(D, [&](std::int64_t d, std::int64_t count)
                         HWY_ATTR { store_some(load_some(totals + d, count), dx + d, count); });
}

// dy and indices [R,K], dx [R,D], dense. A task owns rows.
template <class T>
void scatter_all_rows(Stream& stream, const ScatterRowsArgs& args) {
  constexpr bool kRounds = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;
  const T* const dy = data_as<const T>(args.dy);
  const std::int64_t* const indices = data_as<const std::int64_t>(args.indices);
  T* const dx = data_as<T>(args.dx);
  const std::int64_t K = args.dy.dim(1);
  const std::int64_t D = args.dx.dim(1);
  parallel_for(stream, args.dx.dim(0), row_grain(D), [&](std::int64_t begin, std::int64_t end) {
    const ScratchArray<float> totals(stream, kRounds ? D : 0);
    for (std::int64_t r = begin; r < end; ++r) {
      if constexpr (kRounds) {
        scatter_row_rounded(dy + r * K, indices + r * K, totals.data(), dx + r * D, K, D);
      } else {
        scatter_row(dy + r * K, indices + r * K, dx + r * D, K, D);
      }
    }
  });
}

// ---- By dtype -----------------------------------------------------------------------------------

template <class F>
void switch_ordered(DType dtype, const F& f) {
  if (is_floating(dtype)) {
    switch_floating(dtype, f);
  } else {
    switch_index(dtype, f);
  }
}

void argmax_all(Stream& stream, const ArgmaxArgs& args) {
  switch_ordered(args.x.dtype,
                 [&]<class T>(std::type_identity<T>) { argmax_rows<T>(stream, args); });
}

void top_k_all(Stream& stream, const TopKArgs& args) {
  switch_ordered(args.x.dtype,
                 [&]<class T>(std::type_identity<T>) { top_k_rows<T>(stream, args); });
}

void scatter_rows_all(Stream& stream, const ScatterRowsArgs& args) {
  switch_ordered(args.dx.dtype,
                 [&]<class T>(std::type_identity<T>) { scatter_all_rows<T>(stream, args); });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(argmax_all);
HWY_EXPORT(top_k_all);
HWY_EXPORT(scatter_rows_all);

KernelStatus argmax(Stream& stream, const ArgmaxArgs& args) {
  HWY_DYNAMIC_DISPATCH(argmax_all)(stream, args);
  return KernelStatus::ok();
}

KernelStatus top_k(Stream& stream, const TopKArgs& args) {
  HWY_DYNAMIC_DISPATCH(top_k_all)(stream, args);
  return KernelStatus::ok();
}

KernelStatus scatter_rows(Stream& stream, const ScatterRowsArgs& args) {
  HWY_DYNAMIC_DISPATCH(scatter_rows_all)(stream, args);
  return KernelStatus::ok();
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
