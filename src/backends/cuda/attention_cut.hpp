#pragma once

#include <cstdint>
#include <vector>

namespace wick::cuda {

/// What decides which scores there are: q [B,T,H,Dh], k [B,S,Hkv,Dh].
struct AttentionSizes {
  std::int64_t B, T, S, H, Hkv;
  bool causal;
  std::int64_t window;  ///< 0: none
};

/// Queries and keys of some heads of some rows of a batch; each begins at a number and has a count.
struct AttentionPiece {
  std::int64_t row, rows;
  std::int64_t key_head, key_heads;
  std::int64_t head, heads;  ///< of queries: all of the key heads, or one
  std::int64_t query, queries;
  std::int64_t key, keys;  ///< up to the last one that the last query sees

  /// Elements of its matrix of scores, with rows and columns filled up to whole tiles.
  std::int64_t num_scores() const;
};

/// Pieces that together have every score that a mask of order and window shows, each once. Where they share keys, those of a
/// row and key head follow each other.
struct AttentionCut {
  std::vector<AttentionPiece> pieces;
  bool shares_keys = false;
};

/// Pieces of at most `most` scores: equal parts of the batch, or of a row's key heads, or, where one key head has too many, of its
/// queries. None where those pieces would be very small or very many.
AttentionCut cut_attention(const AttentionSizes& sizes, std::int64_t most);

}  // namespace wick::cuda
