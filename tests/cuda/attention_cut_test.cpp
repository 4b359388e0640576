// Attention's gradient in pieces: every score once, none of a piece too many.

#include "backends/cuda/attention_cut.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace wick::cuda {

namespace {

// 128 queries: a row, a head and the first of them.
using Tile = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

void expect_every_score_once(const AttentionSizes& sizes, const AttentionCut& cut) {
  std::set<Tile> seen;
  const std::int64_t group = sizes.H / sizes.Hkv;
  for (const AttentionPiece& piece : cut.pieces) {
    EXPECT_EQ(piece.query % 128, 0);
    EXPECT_EQ(piece.head / group, piece.key_head);
    EXPECT_EQ((piece.head + piece.heads - 1) / group, piece.key_head + piece.key_heads - 1);
    EXPECT_LE(piece.query + piece.queries, sizes.T);
    EXPECT_LE(piece.key + piece.keys, sizes.S);
    // The last query stands beside the last key, as a causal mask counts.
    const std::int64_t last = sizes.S - sizes.T + piece.query + piece.queries - 1;
    EXPECT_EQ(piece.key + piece.keys - 1, sizes.causal ? last : sizes.S - 1);
    const std::int64_t first = sizes.S - sizes.T + piece.query;
    const std::int64_t first_seen =
        sizes.window == 0 ? 0 : std::max<std::int64_t>(0, first - sizes.window + 1);
    EXPECT_LE(piece.key, first_seen);
    for (std::int64_t row = piece.row; row < piece.row + piece.rows; ++row) {
      for (std::int64_t head = piece.head; head < piece.head + piece.heads; ++head) {
        for (std::int64_t at = 0; at < piece.queries; at += 128) {
          EXPECT_TRUE(seen.insert({row, head, piece.query + at}).second);
        }
      }
    }
  }
  const std::int64_t tiles = (sizes.T + 127) / 128;
  EXPECT_EQ(static_cast<std::int64_t>(seen.size()), sizes.B * sizes.H * tiles);
}

struct Example {
  AttentionSizes sizes;
  std::size_t pieces;
  bool shares_keys;
  std::int64_t heads, queries;  // of the first piece
};

constexpr std::int64_t kMost = std::int64_t{1} << 29;

TEST(AttentionCut, HasEveryScoreOnce) {
  const std::vector<Example> examples{
      {{8, 1024, 1024, 14, 2, true, 0}, 1, false, 14, 1024},
      {{6, 4096, 4096, 8, 4, true, 0}, 2, false, 8, 4096},        // three rows at once
      {{2, 8192, 8192, 16, 4, true, 0}, 4, false, 8, 8192},       // two key heads
      {{2, 9344, 9344, 14, 2, true, 0}, 8, true, 7, 8192},        // a key head's
      {{1, 65536, 65536, 28, 4, true, 0}, 224, true, 1, 8192},    // a query head's
      {{1, 65536, 65536, 32, 8, true, 4096}, 56, true, 4, 9600},  // hidden keys are left out
      {{1, 20000, 30000, 4, 1, true, 0}, 5, true, 4, 4352},
      {{1, 20000, 30000, 4, 1, false, 0}, 5, true, 4, 4352},
  };
  for (const Example& example : examples) {
    SCOPED_TRACE(::testing::Message() << example.sizes.B << "x" << example.sizes.T << "x"
                                      << example.sizes.H << ", window " << example.sizes.window);
    const AttentionCut cut = cut_attention(example.sizes, kMost);
    ASSERT_FALSE(cut.pieces.empty());
    EXPECT_EQ(cut.pieces.size(), example.pieces);
    EXPECT_EQ(cut.shares_keys, example.shares_keys);
    EXPECT_EQ(cut.pieces.front().heads, example.heads);
    EXPECT_EQ(cut.pieces.front().queries, example.queries);
    for (const AttentionPiece& piece : cut.pieces) EXPECT_LE(piece.num_scores(), kMost);
    expect_every_score_once(example.sizes, cut);
  }
}

// dk and dv of a key head are stored when its last piece is done.
TEST(AttentionCut, PiecesOfTheSameKeysFollowEachOther) {
  const AttentionCut cut = cut_attention({2, 16384, 16384, 14, 2, true, 0}, kMost);
  std::set<std::pair<std::int64_t, std::int64_t>> done;
  for (std::size_t i = 0; i < cut.pieces.size(); ++i) {
    const std::pair key(cut.pieces[i].row, cut.pieces[i].key_head);
    const bool continues =
        i > 0 && std::pair(cut.pieces[i - 1].row, cut.pieces[i - 1].key_head) == key;
    EXPECT_TRUE(continues || done.insert(key).second);
  }
  EXPECT_EQ(done.size(), 4U);
}

TEST(AttentionCut, IsNoneWherePiecesWouldBeTooSmallOrTooMany) {
  EXPECT_TRUE(cut_attention({1, 1 << 22, 1 << 22, 8, 8, true, 0}, kMost).pieces.empty());
  // A window to both sides ends neither at a tile nor with the keys.
  EXPECT_TRUE(cut_attention({1, 65536, 65536, 8, 8, false, 100}, kMost).pieces.empty());
}

}  // namespace

}  // namespace wick::cuda
