#pragma once

#include <cstdint>

namespace wick {
namespace mps {

/// Where an operand [B,N,heads,Dh] lies, in elements; those of a head are dense.
struct HeadStrides {
  int64_t batch, token, head;
};

/// Sizes and mask of one call. The query heads that share a key head are the rows of one matrix, so that keys are read once
/// for all of them: row r is head r mod `group` at time r / group.
struct AttentionKargs {
  HeadStrides q, k, v, out;  ///< dout lies as out
  int64_t mask_batch, mask_key, segment_batch, segment_key;
  int64_t split_elements;  ///< of out, and of the result of each split
  int32_t T, S, H, Hkv, Dh;
  int32_t group;           ///< query heads per key head
  int32_t rows;            ///< T · group
  int32_t first_position;  ///< of query 0 among the keys; negative when T > S
  int32_t window;          ///< 0: none
  int32_t causal;
  float scale;
  int32_t slices;      ///< of the columns
  int32_t splits;      ///< of the keys, whose results are merged
  int32_t split_keys;  ///< keys of a split, a multiple of 32
};

/// What of the optional operands is given, as bits.
enum AttentionGiven : uint32_t {
  kGivenKeyMask = 1,
  kGivenSegments = 2,
  kGivenLse = 4,
  kGivenDk = 8,
  kGivenDv = 16,
  kGivenSplits = 32,     ///< results are those of splits
  kGivenWholeQuads = 64  ///< every row begins at a multiple of 4 elements and is one long
};

/// A threadgroup of attention works on tiles: 32 items on the side of the lanes, and 4 simdgroups that own the same number of
/// items of the other side each.
enum AttentionTile : uint32_t {
  kTileLanes = 32,
  kTileSimds = 4,
  kTileThreads = 128,
  kMostTileRows = 8,  ///< items of a simdgroup
  kTileSlice = 128    ///< columns of a result that a threadgroup computes
};

}  // namespace mps
}  // namespace wick
