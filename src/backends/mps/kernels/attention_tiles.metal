// Tiles of attention: queries and keys, their dot products, and sums of rows weighted with them. Rows of operands pass
// through threadgroup memory 64 columns at a time, whatever the width of a head.

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

inline bool sees(int4 row, int2 key) {
  return key.x >= row.x && key.x < row.y && key.y == row.z;
}

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

// ---- Products

// Where a thread stands in its threadgroup.
struct TilePlace {
  uint thread_index;
  uint simd;
  uint lane;
};

// Columns [column, column + 64) of `items` rows; zeros where there is nothing.
inline void load_chunk(device const uchar* x, threadgroup const long* at, uint items, uint column,
                       uint width, uint thread_index, threadgroup float4* tile) {
  for (uint i = thread_index; i < items * kQuads; i += kTileThreads) {
    const long from = at[i / kQuads];
    const uint c = column + i % kQuads * 4;
    float4 values = float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (from >= 0) {
      if (c < width) values.x = load_float(x, ulong(from) + c, kDType);
      if (c + 1 < width) values.y = load_float(x, ulong(from) + c + 1, kDType);
      if (c + 2 < width) values.z = load_float(x, ulong(from) + c + 2, kDType);
      if (c + 3 < width) values.w = load_float(x, ulong(from) + c + 3, kDType);
    }
    tile[i / kQuads * kPitch + i % kQuads] = values;
  }
}

// dots[r] = left item r of the simdgroup · right item of the lane. With keep_left the left tile is there already, which
// only heads of one chunk can have. Every thread of the threadgroup calls it.
inline void tile_dots(device const uchar* left, threadgroup const long* left_at,
                      device const uchar* right, threadgroup const long* right_at, uint width,
                      bool keep_left, TilePlace place, threadgroup float4* left_tile,
                      threadgroup float4* right_tile, thread float (&dots)[kMostTileRows]) {
  for (uint r = 0; r < kTileRows; ++r) dots[r] = 0.0f;
  for (uint column = 0; column < width; column += kChunk) {
    threadgroup_barrier(mem_flags::mem_threadgroup);  // what was there has been used
    if (!keep_left) {
      load_chunk(left, left_at, kTileSimds * kTileRows, column, width, place.thread_index,
                 left_tile);
    }
    load_chunk(right, right_at, kTileLanes, column, width, place.thread_index, right_tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint quads = min(kQuads, (width - column + 3) / 4);
    for (uint d = 0; d < quads; ++d) {
      const float4 own = right_tile[place.lane * kPitch + d];
      for (uint r = 0; r < kTileRows; ++r) {
        dots[r] += dot(left_tile[(place.simd * kTileRows + r) * kPitch + d], own);
      }
    }
  }
}

// sums[r][i] += Σ over the items of weights[r][item] · x[item][first_column + 32 i + lane]. An item of weight 0 adds
// nothing, also where it is NaN. Every thread of the threadgroup calls it.
inline void add_weighted(threadgroup const float* weights, device const uchar* x,
                         threadgroup const long* at, uint first_column, uint width,
                         TilePlace place, threadgroup float4* tile,
                         thread float (&sums)[kMostTileRows][kColumns]) {
  threadgroup const float* own = weights + place.simd * kTileRows * kTileLanes;
  threadgroup const float* values = (threadgroup const float*)tile;
  for (uint half_slice = 0; half_slice < 2; ++half_slice) {
    const uint column = first_column + half_slice * kChunk;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (column < width) {
      load_chunk(x, at, kTileLanes, column, width, place.thread_index, tile);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (column >= width) continue;
    for (uint item = 0; item < kTileLanes; ++item) {
      const float low = values[item * kPitch * 4 + place.lane];
      const float high = values[item * kPitch * 4 + 32 + place.lane];
      for (uint r = 0; r < kTileRows; ++r) {
        const float weight = own[r * kTileLanes + item];
        if (weight == 0.0f) continue;
        sums[r][2 * half_slice] = fma(weight, low, sums[r][2 * half_slice]);
        sums[r][2 * half_slice + 1] = fma(weight, high, sums[r][2 * half_slice + 1]);
      }
    }
  }
}

// Writes a simdgroup's item, times `factor`, from element `at` on.
inline void store_slice(device uchar* out, ulong at, uint first_column, uint width, uint lane,
                        float factor, thread float (&sums)[kColumns]) {
  for (uint i = 0; i < kColumns; ++i) {
    const uint column = first_column + i * 32 + lane;
    if (column < width) store_float(out, at + column, kDType, sums[i] * factor);
  }
}
