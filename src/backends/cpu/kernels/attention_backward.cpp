#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/kernels/attention_backward.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "backends/cpu/attention_bf16-inl.hpp"
#include "backends/cpu/attention_double.hpp"
#include "backends/cpu/attention_f32-inl.hpp"
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

// With P = exp(scale · q kᵀ − lse) and delta = rowsum(dout · out): dv = Pᵀ dout, dS = P (dout vᵀ −
// delta), dq = scale · dS k, dk = scale · dSᵀ q. A task that owns a key head makes all of them, in 5 products. Where there
// are too few key heads to share out, one pass owns tiles of rows and makes dq, another one owns tiles of keys and
// makes dk and dv, in 7 products. Either way each sum has one owner and the same order, and each tile the same kernels: results are
// the same bits on any number of threads.

// What a thread needs. A pass has an outer tile (its own) and inner tiles (those it walks over); of each, what is scored
// makes the scores (queries, keys) and what is paired the gradients of the probabilities (douts, values).
struct BackwardScratch {
  BackwardScratch(Stream& stream, std::int64_t Dh)
      : f32(stream, Dh),
        bf16(stream, Dh),
        memory(stream, 2 * f32.sum_floats() + kAttentionTile * (2 * kAttentionTile + 2)),
        scored_sum(memory.data()),
        paired_sum(memory.data() + f32.sum_floats()),
        probabilities(paired_sum + f32.sum_floats()),
        gradients(probabilities + kAttentionTile * kAttentionTile),
        lse(gradients + kAttentionTile * kAttentionTile),
        delta(lse + kAttentionTile) {}

  F32Tiles f32;
  Bf16Tiles bf16;
  ScratchArray<float> memory;
  float* scored_sum;     // of the outer tile: dq or dk
  float* paired_sum;     // dv
  float* probabilities;  // [inner, columns], at first scores
  float* gradients;      // [inner, columns], at first those of the probabilities
  float* lse;            // [kAttentionTile] of the rows, +∞ where a row sees no key
  float* delta;          // [kAttentionTile] of the rows
  float* query_sums =
      nullptr;  // dq of all rows, a tile after the other; null where it is left to another pass
};

std::int64_t tiles_of(std::int64_t items) { return (items + kAttentionTile - 1) / kAttentionTile; }

// Operands and results of one call, and delta [B,T,H].
template <class T>
struct BackwardCall {
  const AttentionBackwardArgs& a;
  const AttentionProblem& p;
  const float* delta;
};

// scores, still to be multiplied with `scale`, → probabilities; gradients of these → gradients of the scores. Rows of
// queries lie along columns or are the inner items. gradients may be null.
template <bool kMasked, bool kColumnsAreQueries>
void score_gradients(std::int64_t inner, std::int64_t columns, float scale, const TileMask* mask,
                     const BackwardScratch& s, float* gradients) {
  const auto factor = hn::Set(F32(), scale);
  for (std::int64_t i = 0; i < inner; ++i) {
    for (std::int64_t c = 0; c < columns; c += lanes()) {
      const std::int64_t at = i * columns + c;
      const auto lse = kColumnsAreQueries ? load(s.lse + c) : hn::Set(F32(), s.lse[i]);
      const auto delta = kColumnsAreQueries ? load(s.delta + c) : hn::Set(F32(), s.delta[i]);
      auto probability = exp_or_nan(hn::MulSub(load(s.probabilities + at), factor, lse));
      if constexpr (kMasked) {
        probability = hn::IfThenElseZero(visible_columns(*mask, i, c), probability);
      }
      store(probability, s.probabilities + at);
      if (gradients == nullptr) continue;
      auto gradient = hn::Mul(probability, hn::Sub(load(gradients + at), delta));
      if constexpr (kMasked) {  // what is hidden may be NaN, and 0 · NaN is not 0
        gradient = hn::IfThenElseZero(visible_columns(*mask, i, c), gradient);
      }
      store(gradient, gradients + at);
    }
  }
}

// Makes s.probabilities and, when wanted, s.gradients [inner, columns] from the tiles.
template <bool kColumnsAreQueries, class Tiles>
void recompute_tile(const Tiles& tiles, std::int64_t inner, float scale, const TileMask* mask,
                    bool want_gradients, const BackwardScratch& s) {
  tiles.multiply(kScored, s.probabilities);
  float* const gradients = want_gradients ? s.gradients : nullptr;
  if (want_gradients) tiles.multiply(kPaired, gradients);
  if (mask == nullptr) {
    score_gradients<false, kColumnsAreQueries>(inner, tiles.columns(), scale, mask, s, gradients);
  } else {
    score_gradients<true, kColumnsAreQueries>(inner, tiles.columns(), scale, mask, s, gradients);
  }
}

// Whether a tile of a unit for bf16 is worth it: for all tiles, since each of them is an outer one and an inner one.
inline bool takes_bf16(const BackwardCall<BFloat16>& call, const BackwardScratch& s) {
  return s.bf16.take(std::min({kAttentionTile, call.p.S, call.p.rows}));
}

// lse and delta of a tile of rows; rows behind its last one get probabilities of 0.
template <class T>
void load_row_statistics(const BackwardCall<T>& call, const RowTile& tile,
                         const BackwardScratch& s) {
  const float* const lse = data_as<const float>(call.a.lse);
  std::fill_n(s.lse, kAttentionTile, kInfinity);
  std::fill_n(s.delta, kAttentionTile, 0.0F);
  for (std::int64_t i = 0; i < tile.count; ++i) {
    const std::int64_t r = tile.first + i;
    const float value = lse[head_token_index(call.p, tile.b, tile.hkv, r)];
    if (value != -kInfinity) s.lse[i] = value;
    s.delta[i] = call.delta[token_head_index(call.p, tile.b, tile.hkv, r)];
  }
}

template <class T, class Tiles>
void store_query_gradients(const Tiles& tiles, const BackwardCall<T>& call, const RowTile& tile,
                           float* sum) {
  const AttentionProblem& p = call.p;
  tiles.turn_into_rows(sum, tile.count);
  T* const dq = data_as<T>(call.a.dq);
  for (std::int64_t i = 0; i < tile.count; ++i) {
    store_scaled_row(sum + i * tiles.stride(), call.a.scale, p.Dh,
                     dq + token_head_index(p, tile.b, tile.hkv, tile.first + i) * p.Dh);
  }
}

// dq of a tile of rows. False: `tiles` do not take what the operands hold.
template <class T, class Tiles>
bool query_gradients_in(Tiles& tiles, const BackwardCall<T>& call, const RowTile& tile,
                        const BackwardScratch& s) {
  const auto& [a, p, delta] = call;
  if (!tiles.load_outer(kScored, tile.count, query_rows<T>(a.q, p, tile)) ||
      !tiles.load_outer(kPaired, tile.count, query_rows<T>(a.dout, p, tile))) {
    return false;
  }
  load_row_statistics(call, tile, s);
  tiles.clear(s.scored_sum);
  const TileItems rows = tile_rows(p, tile.b, tile.first, tile.count);
  const std::int64_t first_seen = keys_of_query(p, rows.first()).begin;
  const std::int64_t end = keys_of_query(p, rows.last()).end;
  std::int64_t j = first_seen / kAttentionTile * kAttentionTile;
  for (; j < end; j += kAttentionTile) {
    const TileItems keys = tile_keys(p, tile.b, j, std::min(kAttentionTile, p.S - j));
    const TileVisibility visibility = tile_visibility(p, rows, keys);
    if (visibility == TileVisibility::kNone) continue;
    if (!tiles.load_inner(kScored, keys.count, key_rows<T>(a.k, tile.b, tile.hkv, keys)) ||
        !tiles.load_inner(kPaired, keys.count, key_rows<T>(a.v, tile.b, tile.hkv, keys))) {
      return false;
    }
    TileMask mask;
    if (visibility == TileVisibility::kSome) {
      mask = make_tile_mask(p, rows, keys,
                            [&](std::int64_t position) { return keys_of_query(p, position); });
    }
    recompute_tile<true>(tiles, keys.count, a.scale,
                         visibility == TileVisibility::kSome ? &mask : nullptr, true, s);
    tiles.add_weighted(kScored, s.gradients, s.scored_sum);
  }
  store_query_gradients<T>(tiles, call, tile, s.scored_sum);
  return true;
}

template <class T>
void query_gradients(const BackwardCall<T>& call, const RowTile& tile, BackwardScratch& s) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (takes_bf16(call, s) && query_gradients_in(s.bf16, call, tile, s)) return;
  }
  query_gradients_in(s.f32, call, tile, s);
}

// Adds what one tile of rows gives to dk and dv of a tile of keys, and what that gives to dq. False: `tiles` do not take it.
template <class T, class Tiles>
bool add_row_tile(Tiles& tiles, const BackwardCall<T>& call, const RowTile& tile,
                  const TileItems& keys, const BackwardScratch& s) {
  const auto& [a, p, delta] = call;
  const TileItems rows = tile_rows(p, tile.b, tile.first, tile.count);
  const TileVisibility visibility = tile_visibility(p, rows, keys);
  if (visibility == TileVisibility::kNone) return true;
  if (!tiles.load_inner(kScored, tile.count, query_rows<T>(a.q, p, tile)) ||
      !tiles.load_inner(kPaired, tile.count, query_rows<T>(a.dout, p, tile))) {
    return false;
  }
  load_row_statistics(call, tile, s);
  TileMask mask;
  if (visibility == TileVisibility::kSome) {
    mask = make_tile_mask(p, keys, rows, [&](std::int64_t j) { return queries_of_key(p, j); });
  }
  const bool want_dq = s.query_sums != nullptr;
  recompute_tile<false>(tiles, tile.count, a.scale,
                        visibility == TileVisibility::kSome ? &mask : nullptr, a.dk || want_dq, s);
  if (a.dv) tiles.add_weighted(kPaired, s.probabilities, s.paired_sum);
  if (a.dk) tiles.add_weighted(kScored, s.gradients, s.scored_sum);
  if (want_dq) {
    float* const sum = s.query_sums + tile.first / kAttentionTile * tiles.sum_floats();
    tiles.add_weighted_outer(kScored, s.gradients, sum);
  }
  return true;
}

// sums [keys, stride] · factor into a tile of a dense [B,S,Hkv,Dh].
template <class T>
void store_key_gradients(const AttentionProblem& p, std::int64_t b, std::int64_t hkv,
                         const TileItems& keys, const float* sums, std::int64_t stride,
                         float factor, const TensorView& out) {
  for (std::int64_t i = 0; i < keys.count; ++i) {
    const std::int64_t index = (b * p.S + keys.first() + i) * p.Hkv + hkv;
    store_scaled_row(sums + i * stride, factor, p.Dh, data_as<T>(out) + index * p.Dh);
  }
}

// dk and dv of a tile of keys. False: `tiles` do not take what the operands hold.
template <class T, class Tiles>
bool key_gradients_in(Tiles& tiles, const BackwardCall<T>& call, std::int64_t b, std::int64_t hkv,
                      const TileItems& keys, const BackwardScratch& s) {
  const auto& [a, p, delta] = call;
  if (!tiles.load_outer(kScored, keys.count, key_rows<T>(a.k, b, hkv, keys)) ||
      !tiles.load_outer(kPaired, keys.count, key_rows<T>(a.v, b, hkv, keys))) {
    return false;
  }
  tiles.clear(s.scored_sum);
  tiles.clear(s.paired_sum);
  const std::int64_t begin = queries_of_key(p, keys.first()).begin - p.first_position;
  const std::int64_t end = queries_of_key(p, keys.last()).end - p.first_position;
  std::int64_t r = begin * p.group / kAttentionTile * kAttentionTile;
  for (; r < end * p.group; r += kAttentionTile) {
    const RowTile tile{b, hkv, r, std::min(kAttentionTile, p.rows - r)};
    if (!add_row_tile(tiles, call, tile, keys, s)) return false;
  }
  if (a.dk) {
    tiles.turn_into_rows(s.scored_sum, keys.count);
    store_key_gradients<T>(p, b, hkv, keys, s.scored_sum, tiles.stride(), a.scale, a.dk);
  }
  if (a.dv) {
    tiles.turn_into_rows(s.paired_sum, keys.count);
    store_key_gradients<T>(p, b, hkv, keys, s.paired_sum, tiles.stride(), 1.0F, a.dv);
  }
  return true;
}

// The same of the tile of keys from `first` on.
template <class T>
void key_gradients(const BackwardCall<T>& call, std::int64_t b, std::int64_t hkv,
                   std::int64_t first, BackwardScratch& s) {
  const TileItems keys = tile_keys(call.p, b, first, std::min(kAttentionTile, call.p.S - first));
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (takes_bf16(call, s) && key_gradients_in(s.bf16, call, b, hkv, keys, s)) return;
  }
  key_gradients_in(s.f32, call, b, hkv, keys, s);
}

// dq, dk and dv of a key head and of the heads that share it; s.query_sums has dq. False: `tiles` do not take what the
// operands hold.
template <class T, class Tiles>
bool head_gradients_in(Tiles& tiles, const BackwardCall<T>& call, std::int64_t b, std::int64_t hkv,
                       const BackwardScratch& s) {
  const AttentionProblem& p = call.p;
  std::fill_n(s.query_sums, tiles_of(p.rows) * tiles.sum_floats(), 0.0F);
  for (std::int64_t j = 0; j < p.S; j += kAttentionTile) {
    const TileItems keys = tile_keys(p, b, j, std::min(kAttentionTile, p.S - j));
    if (!key_gradients_in(tiles, call, b, hkv, keys, s)) return false;
  }
  for (std::int64_t r = 0; r < p.rows; r += kAttentionTile) {
    const RowTile tile{b, hkv, r, std::min(kAttentionTile, p.rows - r)};
    store_query_gradients<T>(tiles, call, tile,
                             s.query_sums + r / kAttentionTile * tiles.sum_floats());
  }
  return true;
}

template <class T>
void head_gradients(const BackwardCall<T>& call, std::int64_t b, std::int64_t hkv,
                    BackwardScratch& s) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (takes_bf16(call, s) && head_gradients_in(s.bf16, call, b, hkv, s)) return;
  }
  head_gradients_in(s.f32, call, b, hkv, s);
}

// delta[i] = Σ dout · out of row i of the B · T · H rows.
template <class T>
void sum_of_products(const TensorView& dout, const TensorView& out, std::int64_t begin,
                     std::int64_t end, float* delta) {
  const std::int64_t Dh = out.dim(3);
  for (std::int64_t i = begin; i < end; ++i) {
    const T* const left = data_as<const T>(dout) + i * Dh;
    const T* const right = data_as<const T>(out) + i * Dh;
    auto sum = hn::Zero(F32());
    for_each_vector(Dh, [&](std::int64_t d, std::int64_t n) HWY_ATTR {
      sum = hn::MulAdd(load_some(left + d, n), load_some(right + d, n), sum);
    });
    delta[i] = sum_lanes(sum);
  }
}

// A task owns dq of kAttentionTile rows.
template <class T>
void all_query_gradients(Stream& stream, const BackwardCall<T>& call) {
  const AttentionProblem& p = call.p;
  const std::int64_t row_tiles = tiles_of(p.rows);
  parallel_for(stream, p.B * p.Hkv * row_tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    BackwardScratch scratch(stream, p.Dh);
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t head = task / row_tiles;
      // Late rows have the most keys under a causal mask: first, so that threads end together.
      const std::int64_t first = (row_tiles - 1 - task % row_tiles) * kAttentionTile;
      const std::int64_t count = std::min(kAttentionTile, p.rows - first);
      query_gradients(call, {head / p.Hkv, head % p.Hkv, first, count}, scratch);
    }
  });
}

// A task owns dk and dv of kAttentionTile keys of a key head.
template <class T>
void all_key_gradients(Stream& stream, const BackwardCall<T>& call) {
  const AttentionProblem& p = call.p;
  const std::int64_t key_tiles = tiles_of(p.S);
  parallel_for(stream, p.B * p.Hkv * key_tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    BackwardScratch scratch(stream, p.Dh);
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t head = task / key_tiles;
      key_gradients(call, head / p.Hkv, head % p.Hkv, task % key_tiles * kAttentionTile, scratch);
    }
  });
}

// A task owns a key head.
template <class T>
void all_head_gradients(Stream& stream, const BackwardCall<T>& call) {
  const AttentionProblem& p = call.p;
  parallel_for(stream, p.B * p.Hkv, 1, [&](std::int64_t begin, std::int64_t end) {
    BackwardScratch scratch(stream, p.Dh);
    const ScratchArray<float> query_sums(stream, tiles_of(p.rows) * scratch.f32.sum_floats());
    scratch.query_sums = query_sums.data();
    for (std::int64_t head = begin; head < end; ++head) {
      head_gradients(call, head / p.Hkv, head % p.Hkv, scratch);
    }
  });
}

// Whether the threads do 5 products of whole heads sooner than they share 7 of tiles.
bool shares_heads(const AttentionProblem& p, std::int64_t threads) {
  const std::int64_t heads = p.B * p.Hkv;
  const std::int64_t rounds = (heads + threads - 1) / threads;
  return 5 * rounds * threads <= 7 * heads;
}

// dout, q, out, dq [B,T,H,Dh], k, v, dk, dv [B,S,Hkv,Dh], lse [B,H,T].
template <class T>
void attention_backward_of(Stream& stream, const AttentionBackwardArgs& a) {
  const AttentionProblem p(a.q, a.k, a.mask);
  const ScratchArray<float> delta(stream, p.B * p.T * p.H);
  parallel_for(stream, p.B * p.T * p.H, row_grain(p.Dh), [&](std::int64_t begin, std::int64_t end) {
    sum_of_products<T>(a.dout, a.out, begin, end, delta.data());
  });
  const BackwardCall<T> call{a, p, delta.data()};
  const bool wants_keys = a.dk || a.dv;
  if (a.dq && wants_keys && shares_heads(p, thread_pool(stream)->num_threads())) {
    return all_head_gradients(stream, call);
  }
  if (a.dq) all_query_gradients(stream, call);
  if (wants_keys) all_key_gradients(stream, call);
}

void attention_backward_all(Stream& stream, const AttentionBackwardArgs& a) {
  switch_floating(a.q.dtype,
                  [&]<class T>(std::type_identity<T>) { attention_backward_of<T>(stream, a); });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(attention_backward_all);

namespace {

KernelStatus attention_backward_in_tiles(Stream& stream, const AttentionBackwardArgs& a) {
  HWY_DYNAMIC_DISPATCH(attention_backward_all)(stream, a);
  return KernelStatus::ok();
}

}  // namespace

KernelStatus attention_backward(Stream& stream, const AttentionBackwardArgs& a) {
  static constexpr Variant<AttentionBackwardArgs> kVariants[] = {
      {"double", &attention_backward_in_double},
      {"tiles", &attention_backward_in_tiles},
  };
  return run_variants<AttentionBackwardArgs>("attention", kVariants, stream, a);
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
