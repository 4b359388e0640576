#include "backends/cuda/attention_cut.hpp"

#include <algorithm>

namespace wick::cuda {

namespace {

constexpr std::int64_t kTile = 128;
// Blocks of a GPU take tiles of keys and go through a piece's queries: enough of them for what each block does once, and where
// the diagonal makes them unequal, not all.
constexpr std::int64_t kMostQueries = 16384;
constexpr std::int64_t kFewestQueries = 512;
constexpr std::int64_t kEnoughQueries = 4096;
constexpr std::size_t kMostShapes = 128;  // each is a plan of its own

std::int64_t whole_tiles(std::int64_t n) { return (n + kTile - 1) / kTile * kTile; }

// All scores of some rows and key heads.
AttentionPiece whole_heads(const AttentionSizes& x, std::int64_t rows, std::int64_t key_heads) {
  return {.row = 0,
          .rows = rows,
          .key_head = 0,
          .key_heads = key_heads,
          .head = 0,
          .heads = x.H / x.Hkv * key_heads,
          .query = 0,
          .queries = x.T,
          .key = 0,
          .keys = x.S};
}

// The same piece of each group of rows and key heads.
std::vector<AttentionPiece> repeated(const AttentionSizes& x, AttentionPiece piece) {
  std::vector<AttentionPiece> pieces;
  for (piece.row = 0; piece.row < x.B; piece.row += piece.rows) {
    for (piece.key_head = 0; piece.key_head < x.Hkv; piece.key_head += piece.key_heads) {
      piece.head = piece.key_head * (x.H / x.Hkv);
      pieces.push_back(piece);
    }
  }
  return pieces;
}

// What some queries see of the keys, from a whole tile on.
AttentionPiece with_queries(const AttentionSizes& x, AttentionPiece piece, std::int64_t query,
                            std::int64_t queries) {
  const std::int64_t first_position = x.S - x.T + query;
  const std::int64_t first_seen = x.window == 0 ? 0 : first_position - x.window + 1;
  const std::int64_t end = x.causal ? first_position + queries : x.S;
  piece.query = query;
  piece.queries = queries;
  piece.key = std::max<std::int64_t>(first_seen, 0) / kTile * kTile;
  piece.keys = end - piece.key;
  return piece;
}

// As many queries of `piece` as fit wherever they begin.
std::int64_t most_queries(const AttentionSizes& x, const AttentionPiece& piece, std::int64_t most) {
  std::int64_t queries = std::min(kMostQueries, whole_tiles(x.T));
  const auto fits = [&] {
    AttentionPiece largest = with_queries(x, piece, 0, queries);
    largest.keys = x.window == 0 ? x.S : std::min(x.S, queries + x.window + kTile);
    return largest.num_scores() <= most;
  };
  while (queries > 0 && !fits()) queries -= kTile;
  return queries;
}

}  // namespace

std::int64_t AttentionPiece::num_scores() const {
  return rows * heads * whole_tiles(queries) * whole_tiles(keys);
}

AttentionCut cut_attention(const AttentionSizes& x, std::int64_t most) {
  for (std::int64_t rows = x.B; rows > 0; --rows) {
    const AttentionPiece piece = whole_heads(x, rows, x.Hkv);
    if (x.B % rows == 0 && piece.num_scores() <= most) return {.pieces = repeated(x, piece)};
  }
  for (std::int64_t key_heads = x.Hkv; key_heads > 0; --key_heads) {
    const AttentionPiece piece = whole_heads(x, 1, key_heads);
    if (x.Hkv % key_heads == 0 && piece.num_scores() <= most) {
      return {.pieces = repeated(x, piece)};
    }
  }
  if (!x.causal && x.window != 0) return {};
  AttentionPiece of_head = whole_heads(x, 1, 1);
  std::int64_t queries = most_queries(x, of_head, most);
  const std::int64_t group = of_head.heads;
  if (queries < kEnoughQueries) {
    of_head.heads = 1;
    queries = most_queries(x, of_head, most);
  }
  if (queries < kFewestQueries) return {};
  if (static_cast<std::size_t>(x.T / queries) >= kMostShapes) return {};
  AttentionCut cut{.shares_keys = true};
  for (AttentionPiece piece : repeated(x, of_head)) {
    const std::int64_t end = piece.head + group;
    for (; piece.head < end; piece.head += piece.heads) {
      for (std::int64_t query = 0; query < x.T; query += queries) {
        cut.pieces.push_back(with_queries(x, piece, query, std::min(queries, x.T - query)));
      }
    }
  }
  return cut;
}

}  // namespace wick::cuda
