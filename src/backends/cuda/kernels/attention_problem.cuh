#pragma once

#include <algorithm>
#include <array>
#include <limits>

#include "backends/cuda/launch.cuh"
#include "runtime/args/attention_args.hpp"

namespace wick::cuda {

/// Attention works on tiles of at most this many query rows by this many keys.
inline constexpr int kAttentionTile = 64;

/// Where an operand [B,N,heads,Dh] lies; elements of a head are dense.
template <class T>
struct HeadRows {
  T* data = nullptr;
  std::int64_t batch = 0;
  std::int64_t token = 0;
  std::int64_t head = 0;

  HeadRows() = default;
  explicit HeadRows(const TensorView& view)
      : data(data_of<T>(view)),
        batch(view ? view.stride(0) : 0),
        token(view ? view.stride(1) : 0),
        head(view ? view.stride(2) : 0) {}
};

/// Integers from begin up to, not including, end; none when end <= begin.
struct Interval {
  int begin;
  int end;
};

/// Sizes and mask of one call, as kernels see them. The query heads that share a key head are the rows of
/// one matrix, so that keys are read once for all of them: row r is head r mod `group` at time r / group.
struct AttentionProblem {
  AttentionProblem(const TensorView& q, const TensorView& k, const AttentionMask& mask,
                   float factor)
      : B(static_cast<int>(q.dim(0))),
        T(static_cast<int>(q.dim(1))),
        S(static_cast<int>(k.dim(1))),
        H(static_cast<int>(q.dim(2))),
        Hkv(static_cast<int>(k.dim(2))),
        Dh(static_cast<int>(q.dim(3))),
        group(H / Hkv),
        rows(T * group),
        first_position(S - T),
        causal(mask.causal),
        // S + T reaches every key from every query.
        window(mask.window == 0 ? 0 : static_cast<int>(std::min<std::int64_t>(mask.window, S + T))),
        scale(factor),
        key_mask(data_of<const bool>(mask.key_mask)),
        segments(data_of<const std::int32_t>(mask.segments)) {
    for (int axis = 0; axis < 2; ++axis) {
      if (mask.key_mask) key_mask_strides[axis] = mask.key_mask.stride(axis);
      if (mask.segments) segment_strides[axis] = mask.segments.stride(axis);
    }
  }

  int B, T, S, H, Hkv, Dh;
  int group;           ///< query heads per key head
  int rows;            ///< T · group
  int first_position;  ///< of query 0 among the keys; negative when T > S
  bool causal;
  int window;  ///< 0: none
  float scale;
  const bool* key_mask;  ///< null: none
  std::int64_t key_mask_strides[2] = {0, 0};
  const std::int32_t* segments;  ///< null: none
  std::int64_t segment_strides[2] = {0, 0};

  /// The keys that a query at `position` may look at by order and window. Both ends grow with it.
  __host__ __device__ Interval keys_of_query(int position) const {
    const int begin = window == 0 ? 0 : position - window + 1;
    const int end = causal ? position + 1 : window == 0 ? S : position + window;
    return {begin > 0 ? begin : 0, end < S ? end : S};
  }

  /// The times of queries that may look at key j: the same relation from the other side.
  __host__ __device__ Interval times_of_key(int j) const {
    const int begin = (causal ? j : window == 0 ? first_position : j - window + 1) - first_position;
    const int end = (window == 0 ? S : j + window) - first_position;
    return {begin > 0 ? begin : 0, end < T ? end : T};
  }

  /// Rows [first, first + count): the keys that some of them may look at.
  __host__ __device__ Interval keys_of_rows(int first, int count) const {
    return {keys_of_query(first_position + first / group).begin,
            keys_of_query(first_position + (first + count - 1) / group).end};
  }

  /// Keys [first, first + count): the rows that may look at some of them.
  __host__ __device__ Interval rows_of_keys(int first, int count) const {
    return {times_of_key(first).begin * group, times_of_key(first + count - 1).end * group};
  }

  __host__ __device__ bool has_items() const { return key_mask != nullptr || segments != nullptr; }

  __device__ bool hides_key(int b, int j) const {
    return key_mask != nullptr && !key_mask[b * key_mask_strides[0] + j * key_mask_strides[1]];
  }
  __device__ int segment(int b, int position) const {
    if (segments == nullptr || position < 0) return 0;
    return segments[b * segment_strides[0] + position * segment_strides[1]];
  }

  /// Where row r of key head hkv is in a dense [B,T,H]; times Dh, in a dense [B,T,H,Dh].
  __device__ std::int64_t token_head(int b, int hkv, int r) const {
    return (static_cast<std::int64_t>(b) * T + r / group) * H + hkv * group + r % group;
  }
  /// Where it is in a dense [B,H,T].
  __device__ std::int64_t head_token(int b, int hkv, int r) const {
    return (static_cast<std::int64_t>(b) * H + hkv * group + r % group) * T + r / group;
  }
};

/// Whether the sizes of a call fit the integers of AttentionProblem.
inline bool fits_attention_problem(const TensorView& q, const TensorView& k) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  const std::int64_t group = k.dim(2) == 0 ? 1 : q.dim(2) / k.dim(2);
  return q.dim(0) < kMost && k.dim(1) < kMost &&
         q.dim(1) * std::max<std::int64_t>(group, 1) < kMost;
}

/// What a tile needs to know of up to 64 rows of queries. In shared memory.
struct RowItems {
  int time[kAttentionTile];   ///< −1 behind the last row
  int head[kAttentionTile];   ///< of the group
  int begin[kAttentionTile];  ///< the keys that it may look at by order and window
  int end[kAttentionTile];
  int segment[kAttentionTile];
};

/// The same of keys.
struct KeyItems {
  int place[kAttentionTile];  ///< its number; −1 where hidden or behind the last
  int segment[kAttentionTile];
};

/// Fills the entry of row `first` + i of batch b. One thread an entry.
__device__ inline void fill_row_item(const AttentionProblem& p, int b, int first, int i,
                                     RowItems& items) {
  const int r = first + i;
  const bool exists = r < p.rows;
  const int t = exists ? r / p.group : -1;
  const int position = p.first_position + t;
  const Interval seen = p.keys_of_query(position);
  const bool blind = !exists || (p.segments != nullptr && position < 0);
  items.time[i] = t;
  items.head[i] = exists ? r % p.group : 0;
  items.begin[i] = blind ? 0 : seen.begin;
  items.end[i] = blind ? 0 : seen.end;
  items.segment[i] = blind ? 0 : p.segment(b, position);
}

/// Fills the entry of key `first` + i, which is visible when it is less than `end`.
__device__ inline void fill_key_item(const AttentionProblem& p, int b, int first, int i, int end,
                                     KeyItems& items) {
  const int j = first + i;
  const bool seen = j < end && !p.hides_key(b, j);
  items.place[i] = seen ? j : -1;
  items.segment[i] = seen ? p.segment(b, j) : 0;
}

/// The rows of a tile in an operand [B,T,H,Dh], from the first head of the group on.
template <class T>
struct RowsOfTile {
  const T* base;
  std::int64_t token, head;
  const RowItems& items;

  __device__ RowsOfTile(const AttentionProblem& p, const HeadRows<const T>& x, int b, int hkv,
                        const RowItems& rows)
      : base(x.data + b * x.batch + static_cast<std::int64_t>(hkv) * p.group * x.head),
        token(x.token),
        head(x.head),
        items(rows) {}
  /// The elements of item i; null where it has none.
  __device__ const T* at(int i) const {
    return items.time[i] < 0 ? nullptr : base + items.time[i] * token + items.head[i] * head;
  }
};

/// The same of keys or values.
template <class T>
struct KeysOfTile {
  const T* base;
  std::int64_t token;
  const KeyItems& items;

  __device__ KeysOfTile(const HeadRows<const T>& x, int b, int hkv, const KeyItems& keys)
      : base(x.data + b * x.batch + hkv * x.head), token(x.token), items(keys) {}
  __device__ const T* at(int j) const {
    return items.place[j] < 0 ? nullptr : base + items.place[j] * token;
  }
};

__device__ __forceinline__ bool sees(const RowItems& rows, int i, const KeyItems& keys, int j) {
  return keys.place[j] >= rows.begin[i] && keys.place[j] < rows.end[i] &&
         keys.segment[j] == rows.segment[i];
}

/// The smallest and largest segment of rows that see something: keys elsewhere are hidden from all.
struct SegmentRange {
  int least = std::numeric_limits<int>::max();
  int most = std::numeric_limits<int>::min();

  __device__ bool contains(int segment) const { return segment >= least && segment <= most; }
};

__device__ inline SegmentRange segments_of(const RowItems& rows) {
  SegmentRange range;
  for (int i = 0; i < kAttentionTile; ++i) {
    if (rows.begin[i] >= rows.end[i]) continue;
    range.least = min(range.least, rows.segment[i]);
    range.most = max(range.most, rows.segment[i]);
  }
  return range;
}

/// Of keys that are not hidden.
__device__ inline SegmentRange segments_of(const KeyItems& keys) {
  SegmentRange range;
  for (int i = 0; i < kAttentionTile; ++i) {
    if (keys.place[i] < 0) continue;
    range.least = min(range.least, keys.segment[i]);
    range.most = max(range.most, keys.segment[i]);
  }
  return range;
}

/// Fills the items of a tile of kKeys keys. False when no row sees one of them. All threads call it, at least
/// as many as the tile has keys.
template <int kKeys>
__device__ __forceinline__ bool fill_keys(const AttentionProblem& p, int b, int first, int end,
                                          const SegmentRange& seen, KeyItems& keys) {
  bool useful = false;
  const int i = static_cast<int>(threadIdx.x);
  if (i < kKeys) {
    fill_key_item(p, b, first, i, end, keys);
    useful = keys.place[i] >= 0 && (p.segments == nullptr || seen.contains(keys.segment[i]));
  }
  return __syncthreads_or(useful) != 0;
}

/// Parts of the keys, whose results are merged: for calls with too few rows to fill the chip.
struct KeySplits {
  int count = 1;
  int keys = std::numeric_limits<int>::max();  ///< of each part, a multiple of the tile
};

/// Where a forward kernel writes: out (of T) and lse, or with several splits f32 results of each split,
/// [splits, B·T·H, Dh] and [splits, B·T·H].
template <class T>
struct AttentionOutput {
  T* out;
  float* lse;  ///< [B,H,T], may be null
  float* partial_out = nullptr;
  float* partial_lse = nullptr;
};

/// The memory behind it.
template <class T>
std::array<MemoryRange, 2> written_by(const AttentionArgs& a, const AttentionProblem& p,
                                      const AttentionOutput<T>& result, const KeySplits& splits) {
  if (splits.count == 1) return {range_of(a.out), range_of(a.lse)};
  const auto rows =
      static_cast<std::size_t>(a.q.numel() / p.Dh) * static_cast<std::size_t>(splits.count);
  const auto Dh = static_cast<std::size_t>(p.Dh);
  return {{{result.partial_out, rows * Dh * sizeof(float)},
           {result.partial_lse, rows * sizeof(float)}}};
}

}  // namespace wick::cuda
