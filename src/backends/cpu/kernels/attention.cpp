#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/attention.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "backends/cpu/attention_bf16-inl.hpp"
#include "backends/cpu/attention_double.hpp"
#include "backends/cpu/attention_f32-inl.hpp"
#include "backends/cpu/attention_few-inl.hpp"
#include "backends/cpu/attention_mask.hpp"
#include "backends/cpu/attention_tiles-inl.hpp"
#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/scratch.hpp"
#include "backends/cpu/softmax_rows-inl.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/attention_args.hpp"
#include "runtime/variants.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// The online softmax of a tile of rows over the keys seen so far.
struct PartialAttention {
  float* max;    // [kAttentionTile] largest score
  float* total;  // [kAttentionTile] Σ exp(score − max)
  float* out;    // [kAttentionTile, stride] Σ exp(score − max) · value
  std::int64_t stride;

  static std::int64_t floats(std::int64_t stride) { return kAttentionTile * (stride + 2); }
  static PartialAttention at(float* memory, std::int64_t stride) {
    return {memory, memory + kAttentionTile, memory + 2 * kAttentionTile, stride};
  }
  void clear() const {
    std::fill_n(max, kAttentionTile, -kInfinity);
    std::fill_n(total, kAttentionTile, 0.0F);
  }
};

// What a thread needs besides.
struct ScoreScratch {
  explicit ScoreScratch(Stream& stream)
      : memory(stream, kAttentionTile * (kAttentionTile + 1)),
        scores(memory.data()),
        correction(scores + kAttentionTile * kAttentionTile) {}

  ScratchArray<float> memory;
  float* scores;      // [keys, columns], a column for each row of the queries
  float* correction;  // [columns]
};

// Turns scores [num_keys, columns], still to be multiplied with `scale`, into exp(score − max) with the largest score so
// far, and adds them to the totals. correction[c] is what earlier sums of column c must be multiplied with. True
// when all corrections are 1.
template <bool kMasked>
bool online_softmax(float* scores, std::int64_t num_keys, std::int64_t columns, float scale,
                    const TileMask* mask, const PartialAttention& partial, float* correction) {
  const auto factor_of_scores = hn::Set(F32(), scale);
  const auto lowest = hn::Set(F32(), -kInfinity);
  bool unchanged = true;
  for (std::int64_t c = 0; c < columns; c += lanes()) {
    const auto old_max = load(partial.max + c);
    auto max = old_max;
    for (std::int64_t j = 0; j < num_keys; ++j) {
      auto score = hn::Mul(load(scores + j * columns + c), factor_of_scores);
      if constexpr (kMasked) {
        score = hn::IfThenElse(visible_columns(*mask, j, c), score, lowest);
      }
      store(score, scores + j * columns + c);
      max = hn::Max(max, score);
    }
    // A column that has seen no key yet: −∞ − 0 gives a weight of 0 where −∞ − (−∞) would give NaN.
    const auto shift = hn::IfThenElseZero(hn::Ne(max, lowest), max);
    const auto factor = exp_or_nan(hn::Sub(old_max, shift));
    auto total = hn::Mul(load(partial.total + c), factor);
    for (std::int64_t j = 0; j < num_keys; ++j) {
      const auto weight = exp_or_nan(hn::Sub(load(scores + j * columns + c), shift));
      store(weight, scores + j * columns + c);
      total = hn::Add(total, weight);
    }
    store(max, partial.max + c);
    store(total, partial.total + c);
    store(factor, correction + c);
    unchanged = unchanged && hn::AllTrue(F32(), hn::Eq(factor, hn::Set(F32(), 1.0F)));
  }
  return unchanged;
}

// Adds one tile of keys, whose scores are in s.scores, to the partial result.
template <class Tiles>
void add_key_tile(const AttentionProblem& p, const TileItems& rows, const TileItems& keys,
                  bool masked, float scale, const Tiles& tiles, const ScoreScratch& s,
                  const PartialAttention& partial) {
  bool unchanged = false;
  if (masked) {
    const TileMask mask = make_tile_mask(
        p, rows, keys, [&](std::int64_t position) { return keys_of_query(p, position); });
    unchanged = online_softmax<true>(s.scores, keys.count, tiles.columns(), scale, &mask, partial,
                                     s.correction);
  } else {
    unchanged = online_softmax<false>(s.scores, keys.count, tiles.columns(), scale, nullptr,
                                      partial, s.correction);
  }
  if (!unchanged) tiles.scale(s.correction, partial.out);
  tiles.add_weighted(kPaired, s.scores, partial.out);
}

// Attention of a tile of rows over the keys in `range`, whose begin is a multiple of the tile. False: `tiles` do not take
// what the operands hold.
template <class T, class Tiles>
bool attend_in(Tiles& tiles, const AttentionArgs& a, const AttentionProblem& p, const RowTile& tile,
               Interval range, const ScoreScratch& s, const PartialAttention& partial) {
  if (!tiles.load_outer(kScored, tile.count, query_rows<T>(a.q, p, tile))) return false;
  partial.clear();
  tiles.clear(partial.out);
  const TileItems rows = tile_rows(p, tile.b, tile.first, tile.count);
  const std::int64_t first_seen = keys_of_query(p, rows.first()).begin;
  const std::int64_t end = std::min(range.end, keys_of_query(p, rows.last()).end);
  std::int64_t j = std::max(range.begin, first_seen / kAttentionTile * kAttentionTile);
  for (; j < end; j += kAttentionTile) {
    const TileItems keys = tile_keys(p, tile.b, j, std::min(kAttentionTile, p.S - j));
    const TileVisibility visibility = tile_visibility(p, rows, keys);
    if (visibility == TileVisibility::kNone) continue;
    if (!tiles.load_inner(kScored, keys.count, key_rows<T>(a.k, tile.b, tile.hkv, keys)) ||
        !tiles.load_inner(kPaired, keys.count, key_rows<T>(a.v, tile.b, tile.hkv, keys))) {
      return false;
    }
    tiles.multiply(kScored, s.scores);
    add_key_tile(p, rows, keys, visibility == TileVisibility::kSome, a.scale, tiles, s, partial);
  }
  tiles.turn_into_rows(partial.out, tile.count);
  return true;
}

// Tiles of a thread, and what they are used for: attend() is attend_in() of the best that take the operands.
template <class T>
struct ManyRows {
  ManyRows(Stream& stream, std::int64_t Dh) : scratch(stream), f32(stream, Dh), bf16(stream, Dh) {}

  void attend(const AttentionArgs& a, const AttentionProblem& p, const RowTile& tile,
              Interval range, const PartialAttention& partial) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      if (bf16.take(tile.count) && attend_in<T>(bf16, a, p, tile, range, scratch, partial)) return;
    }
    attend_in<T>(f32, a, p, tile, range, scratch, partial);
  }

  ScoreScratch scratch;
  F32Tiles f32;
  Bf16Tiles bf16;
};

template <class T>
struct FewRows {
  FewRows(Stream& stream, std::int64_t Dh) : scratch(stream), tiles(stream, Dh) {}

  void attend(const AttentionArgs& a, const AttentionProblem& p, const RowTile& tile,
              Interval range, const PartialAttention& partial) {
    attend_in<T>(tiles, a, p, tile, range, scratch, partial);
  }

  ScoreScratch scratch;
  FewTiles<T> tiles;
};

// Writes out and lse of a tile of rows.
template <class T>
void store_attention(const AttentionArgs& a, const AttentionProblem& p, const RowTile& tile,
                     const PartialAttention& partial) {
  T* const out = data_as<T>(a.out);
  float* const lse = a.lse ? data_as<float>(a.lse) : nullptr;
  for (std::int64_t i = 0; i < tile.count; ++i) {
    const std::int64_t r = tile.first + i;
    const float total = partial.total[i];
    const float inverse = total == 0 ? 0.0F : 1.0F / total;
    store_scaled_row(partial.out + i * partial.stride, inverse, p.Dh,
                     out + token_head_index(p, tile.b, tile.hkv, r) * p.Dh);
    if (lse == nullptr) continue;
    lse[head_token_index(p, tile.b, tile.hkv, r)] =
        total == 0 ? -kInfinity : partial.max[i] + std::log(total);
  }
}

// Makes one result, in place of the first, of those of `splits` ranges of keys.
inline void merge_partials(const PartialAttention& first, std::int64_t splits, std::int64_t rows) {
  const std::int64_t next = PartialAttention::floats(first.stride);
  for (std::int64_t r = 0; r < rows; ++r) {
    float max = -kInfinity;
    for (std::int64_t i = 0; i < splits; ++i) max = std::max(max, first.max[i * next + r]);
    const float shift = max == -kInfinity ? 0.0F : max;
    float total = 0;
    for (std::int64_t i = 0; i < splits; ++i) {
      const float factor = std::exp(first.max[i * next + r] - shift);
      total += factor * first.total[i * next + r];
      const float* const from = first.out + i * next + r * first.stride;
      float* const to = first.out + r * first.stride;
      const auto vfactor = hn::Set(F32(), factor);
      for (std::int64_t d = 0; d < first.stride; d += lanes()) {
        const auto sum = i == 0 ? hn::Zero(F32()) : load(to + d);
        store(hn::MulAdd(vfactor, load(from + d), sum), to + d);
      }
    }
    first.max[r] = max;
    first.total[r] = total;
  }
}

// How the work is cut: by key head and tile of rows, and by keys where that gives little to share,
// as when tokens are decoded one by one. Does not depend on the number of threads, as sums must
// not.
struct ForwardPlan {
  explicit ForwardPlan(const AttentionProblem& p)
      : row_tiles((p.rows + kAttentionTile - 1) / kAttentionTile), tasks(p.B * p.Hkv * row_tiles) {
    constexpr std::int64_t kWantedTasks = 16;
    constexpr std::int64_t kKeysPerSplit = 512;  // far more work than merging the results
    if (tasks == 0 || tasks >= kWantedTasks) return;
    const std::int64_t wanted =
        std::min((kWantedTasks + tasks - 1) / tasks, (p.S + kKeysPerSplit - 1) / kKeysPerSplit);
    const std::int64_t tiles = (p.S + kAttentionTile - 1) / kAttentionTile;
    const std::int64_t tiles_each = wanted < 2 ? tiles : (tiles + wanted - 1) / wanted;
    if (tiles_each == tiles) return;
    split_keys = tiles_each * kAttentionTile;
    splits = (p.S + split_keys - 1) / split_keys;
  }

  // Late rows have the most keys under a causal mask: they come first, so that threads end
  // together.
  RowTile tile(const AttentionProblem& p, std::int64_t task) const {
    const std::int64_t first = (row_tiles - 1 - task % row_tiles) * kAttentionTile;
    const std::int64_t head = task / row_tiles;
    return {head / p.Hkv, head % p.Hkv, first, std::min(kAttentionTile, p.rows - first)};
  }

  std::int64_t row_tiles;
  std::int64_t tasks;
  std::int64_t splits = 1;
  std::int64_t split_keys = std::numeric_limits<std::int64_t>::max();
};

// q and out [B,T,H,Dh], k and v [B,S,Hkv,Dh], lse [B,H,T]. A task owns kAttentionTile rows of the
// heads that share a key head and reads the keys that they see once; scratch is a few tiles for
// each thread, of `Rows`.
template <class T, class Rows>
void attention_of(Stream& stream, const AttentionArgs& a, const AttentionProblem& p) {
  const ForwardPlan plan(p);
  const std::int64_t stride = round_up_to_lanes(p.Dh);
  const std::int64_t floats = PartialAttention::floats(stride);
  if (plan.splits == 1) {
    parallel_for(stream, plan.tasks, 1, [&](std::int64_t begin, std::int64_t end) {
      Rows rows(stream, p.Dh);
      const ScratchArray<float> memory(stream, floats);
      const auto partial = PartialAttention::at(memory.data(), stride);
      for (std::int64_t task = begin; task < end; ++task) {
        const RowTile tile = plan.tile(p, task);
        rows.attend(a, p, tile, {0, p.S}, partial);
        store_attention<T>(a, p, tile, partial);
      }
    });
    return;
  }
  const ScratchArray<float> memory(stream, plan.tasks * plan.splits * floats);
  parallel_for(stream, plan.tasks * plan.splits, 1, [&](std::int64_t begin, std::int64_t end) {
    Rows rows(stream, p.Dh);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t first_key = i % plan.splits * plan.split_keys;
      rows.attend(a, p, plan.tile(p, i / plan.splits), {first_key, first_key + plan.split_keys},
                  PartialAttention::at(memory.data() + i * floats, stride));
    }
  });
  parallel_for(stream, plan.tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const auto first = PartialAttention::at(memory.data() + task * plan.splits * floats, stride);
      const RowTile tile = plan.tile(p, task);
      merge_partials(first, plan.splits, tile.count);
      store_attention<T>(a, p, tile, first);
    }
  });
}

void attention_all(Stream& stream, const AttentionArgs& a) {
  const AttentionProblem problem(a.q, a.k, a.mask);
  switch_floating(a.q.dtype, [&]<class T>(std::type_identity<T>) {
    if (FewTiles<T>::suits(problem.rows)) {
      attention_of<T, FewRows<T>>(stream, a, problem);
    } else {
      attention_of<T, ManyRows<T>>(stream, a, problem);
    }
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(attention_all);

namespace {

KernelStatus attention_in_tiles(Stream& stream, const AttentionArgs& a) {
  HWY_DYNAMIC_DISPATCH(attention_all)(stream, a);
  return KernelStatus::ok();
}

}  // namespace

KernelStatus attention(Stream& stream, const AttentionArgs& a) {
  static constexpr Variant<AttentionArgs> kVariants[] = {
      {"double", &attention_in_double},
      {"tiles", &attention_in_tiles},
  };
  return run_variants<AttentionArgs>("attention", kVariants, stream, a);
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
