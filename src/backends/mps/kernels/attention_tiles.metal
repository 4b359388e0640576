#include "backends/mps/kernels/attention_kargs.hpp"
#include "backends/mps/kernels/common.metal"

// Tiles of attention: queries and keys, their dot products, and sums of rows weighted with them. Rows of operands pass
// through threadgroup memory 64 columns at a time, whatever the width of a head.

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];     // of q, k, v and out
constant uint kTileRows [[function_constant(1)]];  // items of a simdgroup, at most kMostTileRows
constant uint kGiven [[function_constant(2)]];     // AttentionGiven bits

constant constexpr uint kChunk = 64;   // columns in threadgroup memory
constant constexpr uint kQuads = 16;   // of them, as float4
constant constexpr uint kPitch = 17;   // float4s from item to item: no two lanes meet in a bank
constant constexpr uint kColumns = 4;  // of a slice that a lane owns: lane, lane + 32, …

// ---- Who sees whom

// The keys that a query at `position` may look at by order and window: [x, y). Both grow with it.
inline int2 keys_of_query(constant AttentionKargs& args, int position) {
  const int begin = args.window == 0 ? 0 : position - args.window + 1;
  int end = args.window == 0 ? args.S : position + args.window;
  if (args.causal != 0) end = position + 1;
  return int2(max(begin, 0), min(end, args.S));
}

// The times of queries that may look at key j: the same relation from the other side.
inline int2 times_of_key(constant AttentionKargs& args, int j) {
  int begin = args.window == 0 ? args.first_position : j - args.window + 1;
  if (args.causal != 0) begin = j;
  const int end = args.window == 0 ? args.S : j + args.window;
  return int2(max(begin - args.first_position, 0), min(end - args.first_position, args.T));
}

// Of row r: the keys [x, y) that it may look at, and its segment z. Nothing for rows that are not there.
inline int4 row_item(constant AttentionKargs& args, device const int* segments, uint b, int r) {
  if (r >= args.rows) return int4(0, 0, 0, 0);
  const int position = args.first_position + r / args.group;
  const int2 seen = keys_of_query(args, position);
  if ((kGiven & kGivenSegments) == 0) return int4(seen.x, seen.y, 0, 0);
  if (position < 0) return int4(0, 0, 0, 0);
  const long at = long(b) * args.segment_batch + long(position) * args.segment_key;
  return int4(seen.x, seen.y, segments[at], 0);
}

// Of key j: its place x, −1 where it is hidden from all or not below `end`, and its segment y.
inline int2 key_item(constant AttentionKargs& args, device const uchar* key_mask,
                     device const int* segments, uint b, int j, int end) {
  if (j >= end) return int2(-1, 0);
  if ((kGiven & kGivenKeyMask) != 0) {
    if (key_mask[long(b) * args.mask_batch + long(j) * args.mask_key] == 0) return int2(-1, 0);
  }
  if ((kGiven & kGivenSegments) == 0) return int2(j, 0);
  return int2(j, segments[long(b) * args.segment_batch + long(j) * args.segment_key]);
}

inline bool sees(int4 row, int2 key) { return key.x >= row.x && key.x < row.y && key.y == row.z; }

// The smallest and largest segment of items that take part, over the lanes.
inline int2 segment_range(bool takes_part, int segment) {
  const int least = simd_min(takes_part ? segment : 0x7FFFFFFF);
  const int most = simd_max(takes_part ? segment : -0x7FFFFFFF - 1);
  return int2(least, most);
}
inline bool any_in_range(bool takes_part, int segment, int2 range) {
  return simd_any(takes_part && segment >= range.x && segment <= range.y);
}

// ---- Where rows of operands are

inline long row_offset(constant AttentionKargs& args, constant HeadStrides& strides, uint b,
                       uint hkv, int r) {
  if (r >= args.rows) return -1;
  const long head = long(hkv) * args.group + r % args.group;
  return long(b) * strides.batch + long(r / args.group) * strides.token + head * strides.head;
}
inline long key_offset(constant HeadStrides& strides, uint b, uint hkv, int place) {
  if (place < 0) return -1;
  return long(b) * strides.batch + long(place) * strides.token + long(hkv) * strides.head;
}
// Where row r is in a dense [B,H,T].
inline ulong head_token(constant AttentionKargs& args, uint b, uint hkv, int r) {
  const ulong head = ulong(hkv) * ulong(args.group) + ulong(r % args.group);
  return (ulong(b) * ulong(args.H) + head) * ulong(args.T) + ulong(r / args.group);
}

// ---- What a threadgroup has

// The operands of both passes; dout, lse and delta are the backward pass's.
struct AttentionInputs {
  device const uchar* q;
  device const uchar* k;
  device const uchar* v;
  device const uchar* dout;
  device const uchar* key_mask;
  device const int* segments;
  device const float* lse;
  device const float* delta;
};

// Of the items that simdgroups own, and of those of the lanes: rows of q and dout, or of k and v.
struct TileMemory {
  float4 own_tile[kTileLanes * kPitch];
  float4 lane_tile[kTileLanes * kPitch];
  float weights[kTileLanes * kTileLanes];
  long own_at[2][kTileLanes];
  long lane_at[2][kTileLanes];
  int4 items[kTileLanes];      // owned rows, or keys in x and y
  float2 numbers[kTileLanes];  // of owned rows: lse and delta
};

// Where a thread stands in its threadgroup, and the threadgroup in the work.
struct TilePlace {
  uint thread_index;
  uint simd;
  uint lane;
  uint b;
  uint hkv;
  int first;          // item that the threadgroup owns
  uint split;         // of the keys
  uint first_column;  // of its slice
};

inline TilePlace tile_place(constant AttentionKargs& args, uint3 group, uint thread_index,
                            uint simd, uint lane) {
  TilePlace place;
  place.thread_index = thread_index;
  place.simd = simd;
  place.lane = lane;
  place.b = group.z / uint(args.Hkv);
  place.hkv = group.z % uint(args.Hkv);
  place.first = int(group.x * kTileSimds * kTileRows);
  place.split = group.y / uint(args.slices);
  place.first_column = group.y % uint(args.slices) * kTileSlice;
  return place;
}

// Items [begin, end) are seen by, or see, some of those that a threadgroup owns, if their segment is in the range.
struct TileBounds {
  int begin;
  int end;
  int2 segments;
};

// What a row needs of the forward pass: its lse x and delta y.
inline float2 row_numbers(constant AttentionKargs& args, AttentionInputs inputs, uint b, uint hkv,
                          int r) {
  if (r >= args.rows) return float2(0.0f, 0.0f);
  const ulong at = head_token(args, b, hkv, r);
  return float2(inputs.lse[at], inputs.delta[at]);
}

// Notes the rows that a threadgroup owns; the keys that they see.
inline TileBounds own_rows(threadgroup TileMemory& memory, AttentionInputs inputs,
                           constant AttentionKargs& args, TilePlace place, bool backward) {
  const int count = int(kTileSimds * kTileRows);
  const int i = int(place.thread_index);
  const int r = place.first + i;
  if (i < count) {
    memory.items[i] = row_item(args, inputs.segments, place.b, r);
    memory.own_at[0][i] = row_offset(args, args.q, place.b, place.hkv, r);
    memory.own_at[1][i] = row_offset(args, args.out, place.b, place.hkv, r);
    if (backward) memory.numbers[i] = row_numbers(args, inputs, place.b, place.hkv, r);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int4 item = memory.items[min(int(place.lane), count - 1)];
  const int last = min(place.first + count, args.rows) - 1;
  TileBounds bounds;
  bounds.begin = keys_of_query(args, args.first_position + place.first / args.group).x;
  bounds.end = keys_of_query(args, args.first_position + last / args.group).y;
  bounds.segments = segment_range(item.x < item.y, item.z);
  return bounds;
}

// The same of keys, and the rows that see them.
inline TileBounds own_keys(threadgroup TileMemory& memory, AttentionInputs inputs,
                           constant AttentionKargs& args, TilePlace place) {
  const int count = int(kTileSimds * kTileRows);
  const int i = int(place.thread_index);
  if (i < count) {
    const int2 key =
        key_item(args, inputs.key_mask, inputs.segments, place.b, place.first + i, args.S);
    memory.items[i] = int4(key.x, key.y, 0, 0);
    memory.own_at[0][i] = key_offset(args.k, place.b, place.hkv, key.x);
    memory.own_at[1][i] = key_offset(args.v, place.b, place.hkv, key.x);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const int4 item = memory.items[min(int(place.lane), count - 1)];
  const int last = min(place.first + count, args.S) - 1;
  TileBounds bounds;
  bounds.begin = times_of_key(args, place.first).x * args.group;
  bounds.end = times_of_key(args, last).y * args.group;
  bounds.segments = segment_range(item.x >= 0, item.y);
  return bounds;
}

// Notes the key of each lane, `first` + lane. False when nobody sees one of them, which all simdgroups find alike.
inline bool lane_keys(threadgroup TileMemory& memory, AttentionInputs inputs,
                      constant AttentionKargs& args, TilePlace place, TileBounds bounds, int first,
                      thread int2& key) {
  key = key_item(args, inputs.key_mask, inputs.segments, place.b, first + int(place.lane),
                 bounds.end);
  if (!any_in_range(key.x >= 0, key.y, bounds.segments)) return false;
  if (place.simd == 0u) {
    memory.lane_at[0][place.lane] = key_offset(args.k, place.b, place.hkv, key.x);
    memory.lane_at[1][place.lane] = key_offset(args.v, place.b, place.hkv, key.x);
  }
  return true;
}

// The same of rows, with their numbers.
inline bool lane_rows(threadgroup TileMemory& memory, AttentionInputs inputs,
                      constant AttentionKargs& args, TilePlace place, TileBounds bounds, int first,
                      thread int4& row, thread float2& numbers) {
  const int r = first + int(place.lane);
  row = row_item(args, inputs.segments, place.b, r);
  if (!any_in_range(row.x < row.y, row.z, bounds.segments)) return false;
  if (place.simd == 0u) {
    memory.lane_at[0][place.lane] = row_offset(args, args.q, place.b, place.hkv, r);
    memory.lane_at[1][place.lane] = row_offset(args, args.out, place.b, place.hkv, r);
  }
  numbers = row_numbers(args, inputs, place.b, place.hkv, r);
  return true;
}

// ---- Products

// Columns [column, column + 64) of `items` rows; zeros where there is nothing.
inline void load_chunk(device const uchar* x, threadgroup const long* at, uint items, uint column,
                       uint width, uint thread_index, threadgroup float4* tile) {
  for (uint i = thread_index; i < items * kQuads; i += kTileThreads) {
    const long from = at[i / kQuads];
    const uint c = column + i % kQuads * 4;
    float4 values = float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (from >= 0 && (kGiven & kGivenWholeQuads) != 0) {
      if (c < width) values = load_float4(x, ulong(from) + c, kDType);
    } else if (from >= 0) {
      if (c < width) values.x = load_float(x, ulong(from) + c, kDType);
      if (c + 1 < width) values.y = load_float(x, ulong(from) + c + 1, kDType);
      if (c + 2 < width) values.z = load_float(x, ulong(from) + c + 2, kDType);
      if (c + 3 < width) values.w = load_float(x, ulong(from) + c + 3, kDType);
    }
    tile[i / kQuads * kPitch + i % kQuads] = values;
  }
}

// dots[r] = item r of the simdgroup in `own` · item of the lane in `other`; `which` says whose offsets to take. With
// keep_own the own tile is there already, which only heads of one chunk can have. Every thread of the threadgroup calls it.
inline void tile_dots(threadgroup TileMemory& memory, uint which, device const uchar* own,
                      device const uchar* other, uint width, bool keep_own, TilePlace place,
                      thread float (&dots)[kMostTileRows]) {
  for (uint r = 0; r < kTileRows; ++r) dots[r] = 0.0f;
  for (uint column = 0; column < width; column += kChunk) {
    threadgroup_barrier(mem_flags::mem_threadgroup);  // what was there has been used
    if (!keep_own) {
      load_chunk(own, memory.own_at[which], kTileSimds * kTileRows, column, width,
                 place.thread_index, memory.own_tile);
    }
    load_chunk(other, memory.lane_at[which], kTileLanes, column, width, place.thread_index,
               memory.lane_tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint quads = min(kQuads, (width - column + 3) / 4);
    for (uint d = 0; d < quads; ++d) {
      const float4 mine = memory.lane_tile[place.lane * kPitch + d];
      for (uint r = 0; r < kTileRows; ++r) {
        dots[r] += dot(memory.own_tile[(place.simd * kTileRows + r) * kPitch + d], mine);
      }
    }
  }
}

// sums[r][i] += Σ over the lanes' items of weights[r][item] · x[item][first_column + 32 i + lane]. An item of weight 0
// adds nothing, also where it is NaN. Every thread of the threadgroup calls it.
inline void add_weighted(threadgroup TileMemory& memory, threadgroup const float* weights,
                         uint which, device const uchar* x, uint width, TilePlace place,
                         thread float (&sums)[kMostTileRows][kColumns]) {
  threadgroup const float* own = weights + place.simd * kTileRows * kTileLanes;
  threadgroup const float* values = (threadgroup const float*)memory.lane_tile + place.lane;
  for (uint half_slice = 0; half_slice < 2; ++half_slice) {
    const uint column = place.first_column + half_slice * kChunk;
    if (column >= width) return;  // the same for all threads
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_chunk(x, memory.lane_at[which], kTileLanes, column, width, place.thread_index,
               memory.lane_tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint item = 0; item < kTileLanes; ++item) {
      const float low = values[item * kPitch * 4];
      const float high = values[item * kPitch * 4 + 32];
      for (uint r = 0; r < kTileRows; ++r) {
        const float weight = own[r * kTileLanes + item];
        if (weight == 0.0f) continue;
        sums[r][2 * half_slice] = fma(weight, low, sums[r][2 * half_slice]);
        sums[r][2 * half_slice + 1] = fma(weight, high, sums[r][2 * half_slice + 1]);
      }
    }
  }
}

inline void clear_sums(thread float (&sums)[kMostTileRows][kColumns]) {
  for (uint r = 0; r < kTileRows; ++r) {
    for (uint i = 0; i < kColumns; ++i) sums[r][i] = 0.0f;
  }
}

// Writes a simdgroup's item, times `factor`, from element `at` on.
inline void store_slice(device uchar* out, ulong at, uint width, TilePlace place, float factor,
                        thread float (&sums)[kColumns]) {
  for (uint i = 0; i < kColumns; ++i) {
    const uint column = place.first_column + i * 32 + place.lane;
    if (column < width) store_float(out, at + column, kDType, sums[i] * factor);
  }
}
