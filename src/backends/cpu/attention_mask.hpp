#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "layout/view_cast.hpp"
#include "runtime/args/attention_args.hpp"

namespace wick::cpu {

/// Attention works on tiles of this many query rows by this many keys: four f32 tiles of 64 by 128
/// stay in a second-level cache, and a first-level one holds what a product reads again and again.
inline constexpr std::int64_t kAttentionTile = 64;

/// Sizes and mask of one call. The query heads that share a key head are the rows of one matrix, so
/// that keys are read once for all of them: row r is head r mod `group` of the group at time r /
/// group.
struct AttentionProblem {
  AttentionProblem(const TensorView& q, const TensorView& k, const AttentionMask& mask)
      : B(q.dim(0)),
        T(q.dim(1)),
        S(k.dim(1)),
        H(q.dim(2)),
        Hkv(k.dim(2)),
        Dh(q.dim(3)),
        group(Hkv == 0 ? 0 : H / Hkv),
        rows(T * group),
        first_position(S - T),
        causal(mask.causal),
        // S + T reaches every key from every query, and is far from the end of the integers.
        window(mask.window == 0 ? 0 : std::min(mask.window, S + T)),
        key_mask(mask.key_mask ? data_as<const bool>(mask.key_mask) : nullptr),
        segments(mask.segments ? data_as<const std::int32_t>(mask.segments) : nullptr) {
    for (int axis = 0; axis < 2; ++axis) {
      if (key_mask != nullptr) key_mask_strides[axis] = mask.key_mask.stride(axis);
      if (segments != nullptr) segment_strides[axis] = mask.segments.stride(axis);
    }
  }

  std::int64_t B, T, S, H, Hkv, Dh;
  std::int64_t group;           ///< query heads per key head
  std::int64_t rows;            ///< T · group
  std::int64_t first_position;  ///< of query 0 among the keys; negative when T > S
  bool causal;
  std::int64_t window;   ///< 0: none
  const bool* key_mask;  ///< null: none
  std::array<std::int64_t, 2> key_mask_strides{};
  const std::int32_t* segments;  ///< null: none
  std::array<std::int64_t, 2> segment_strides{};
};

/// Integers from begin up to, not including, end; none when end <= begin.
struct Interval {
  std::int64_t begin;
  std::int64_t end;
};

/// The keys that a query at `position` may look at, as far as order and window say. Both ends grow
/// with the position.
inline Interval keys_of_query(const AttentionProblem& p, std::int64_t position) {
  const std::int64_t begin = p.window == 0 ? 0 : position - p.window + 1;
  const std::int64_t end = p.causal ? position + 1 : p.window == 0 ? p.S : position + p.window;
  return {std::max<std::int64_t>(begin, 0), std::min(end, p.S)};
}

/// The positions of queries that may look at key j: the same relation from the other side.
inline Interval queries_of_key(const AttentionProblem& p, std::int64_t j) {
  const std::int64_t begin = p.causal ? j : p.window == 0 ? p.first_position : j - p.window + 1;
  const std::int64_t end = p.window == 0 ? p.S : j + p.window;
  return {std::max(begin, p.first_position), std::min(end, p.S)};
}

/// One side of a tile: keys, or query rows, in ascending order of position.
struct TileItems {
  std::int64_t count = 0;
  std::array<std::int64_t, kAttentionTile> position{};
  std::array<bool, kAttentionTile> hidden{};  ///< seen by nobody
  bool any_hidden = false;
  bool all_hidden = true;
  std::array<std::int32_t, kAttentionTile> segment{};
  std::int32_t min_segment = std::numeric_limits<std::int32_t>::max();
  std::int32_t max_segment = std::numeric_limits<std::int32_t>::min();

  std::int64_t first() const { return position[0]; }
  std::int64_t last() const { return position[static_cast<std::size_t>(count - 1)]; }

  void add(const AttentionProblem& p, std::int64_t b, std::int64_t at, bool is_hidden) {
    const auto i = static_cast<std::size_t>(count++);
    position[i] = at;
    hidden[i] = is_hidden;
    any_hidden |= is_hidden;
    all_hidden &= is_hidden;
    if (p.segments == nullptr || is_hidden) return;
    segment[i] = p.segments[b * p.segment_strides[0] + at * p.segment_strides[1]];
    min_segment = std::min(min_segment, segment[i]);
    max_segment = std::max(max_segment, segment[i]);
  }
};

/// Keys [first, first + count) of batch b.
inline TileItems tile_keys(const AttentionProblem& p, std::int64_t b, std::int64_t first,
                           std::int64_t count) {
  TileItems items;
  for (std::int64_t j = first; j < first + count; ++j) {
    const bool hidden =
        p.key_mask != nullptr && !p.key_mask[b * p.key_mask_strides[0] + j * p.key_mask_strides[1]];
    items.add(p, b, j, hidden);
  }
  return items;
}

/// Rows [first, first + count) of batch b. A query before the first key has no segment and sees no
/// key.
inline TileItems tile_rows(const AttentionProblem& p, std::int64_t b, std::int64_t first,
                           std::int64_t count) {
  TileItems items;
  std::int64_t position = p.first_position + first / p.group;
  std::int64_t head = first % p.group;
  for (std::int64_t r = 0; r < count; ++r) {
    items.add(p, b, position, p.segments != nullptr && position < 0);
    if (++head == p.group) {
      head = 0;
      ++position;
    }
  }
  return items;
}

enum class TileVisibility { kNone, kSome, kAll };

/// What a tile of rows can see of a tile of keys; kSome may also be said of tiles that are all or
/// none.
inline TileVisibility tile_visibility(const AttentionProblem& p, const TileItems& rows,
                                      const TileItems& keys) {
  const Interval of_first = keys_of_query(p, rows.first());
  const Interval of_last = keys_of_query(p, rows.last());
  if (rows.all_hidden || keys.all_hidden) return TileVisibility::kNone;
  if (keys.last() < of_first.begin || keys.first() >= of_last.end) return TileVisibility::kNone;
  if (p.segments != nullptr) {
    if (rows.max_segment < keys.min_segment || keys.max_segment < rows.min_segment) {
      return TileVisibility::kNone;
    }
    const bool one_segment =
        rows.min_segment == keys.max_segment && rows.max_segment == keys.min_segment;
    if (!one_segment) return TileVisibility::kSome;
  }
  if (rows.any_hidden || keys.any_hidden) return TileVisibility::kSome;
  const bool all = of_last.begin <= keys.first() && keys.last() < of_first.end;
  return all ? TileVisibility::kAll : TileVisibility::kSome;
}

/// The mask of one tile in the form that vectors compare. Columns lie along vectors; column c sees
/// inner item i when begin[c] <= place[i] < end[c] and their segments are equal. Places are counted
/// from the first inner item, so that small integers in f32 are exact.
struct TileMask {
  std::array<float, kAttentionTile> begin{};
  std::array<float, kAttentionTile> end{};
  std::array<float, kAttentionTile> place{};
  const std::int32_t* column_segments = nullptr;  ///< null: segments do not matter
  const std::int32_t* inner_segments = nullptr;
};

/// Fills a TileMask from its two sides; `sees(position)` gives the interval of inner positions that
/// a column at `position` is paired with. The sides must outlive the mask.
template <class Sees>
TileMask make_tile_mask(const AttentionProblem& p, const TileItems& columns, const TileItems& inner,
                        const Sees& sees) {
  const auto place = [&](std::int64_t position) {
    const std::int64_t from_first = position - inner.first();
    return static_cast<float>(std::clamp<std::int64_t>(from_first, 0, kAttentionTile));
  };
  TileMask mask;
  for (std::size_t c = 0; c < static_cast<std::size_t>(columns.count); ++c) {
    if (columns.hidden[c]) continue;  // begin = end: sees nothing
    const Interval seen = sees(columns.position[c]);
    mask.begin[c] = place(seen.begin);
    mask.end[c] = place(seen.end);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(inner.count); ++i) {
    mask.place[i] = inner.hidden[i] ? -1.0F : place(inner.position[i]);
  }
  if (p.segments != nullptr) {
    mask.column_segments = columns.segment.data();
    mask.inner_segments = inner.segment.data();
  }
  return mask;
}

/// Where row r of key head hkv is in a dense [B,T,H]; times Dh, in a dense [B,T,H,Dh].
inline std::int64_t token_head_index(const AttentionProblem& p, std::int64_t b, std::int64_t hkv,
                                     std::int64_t r) {
  return (b * p.T + r / p.group) * p.H + hkv * p.group + r % p.group;
}

/// Where row r of key head hkv is in a dense [B,H,T].
inline std::int64_t head_token_index(const AttentionProblem& p, std::int64_t b, std::int64_t hkv,
                                     std::int64_t r) {
  return (b * p.H + hkv * p.group + r % p.group) * p.T + r / p.group;
}

}  // namespace wick::cpu
