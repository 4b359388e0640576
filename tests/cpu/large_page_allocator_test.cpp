#include "backends/cpu/large_page_allocator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

namespace wick::cpu {

namespace {

constexpr std::size_t kPage = LargePageAllocator::kPage;

struct Piece {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  unsigned char pattern = 0;
};

bool holds_pattern(const Piece& piece) {
  return std::all_of(piece.data, piece.data + piece.bytes,
                     [&](std::byte value) { return value == std::byte{piece.pattern}; });
}

class LargePages : public ::testing::Test {
 protected:
  ~LargePages() override { EXPECT_EQ(pages_.mapped_bytes(), 0U) << "not all was given back"; }

  Piece allocate(std::size_t bytes, unsigned char pattern = 1) {
    auto* const data = static_cast<std::byte*>(pages_.allocate(bytes));
    EXPECT_NE(data, nullptr);
    if (data != nullptr) std::memset(data, pattern, bytes);
    return {data, bytes, pattern};
  }
  void release(const Piece& piece) { pages_.release(piece.data, piece.bytes); }

  LargePageAllocator pages_;
};

std::size_t misaligned(const std::byte* data, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(data) % alignment;
}

TEST_F(LargePages, BlocksOfAnySizeAreAlignedAndApart) {
  std::vector<Piece> pieces;
  for (const std::size_t bytes :
       std::vector<std::size_t>{1, 63, 64, 4095, 4096, 4097, 20000, kPage - 1, kPage, kPage + 1,
                                3 * kPage / 2, 17 * kPage, 40 * kPage + 5}) {
    pieces.push_back(allocate(bytes, static_cast<unsigned char>(pieces.size() + 1)));
    EXPECT_EQ(misaligned(pieces.back().data, 64), 0U) << bytes;
  }
  for (const Piece& piece : pieces) EXPECT_TRUE(holds_pattern(piece)) << piece.bytes;
  for (const Piece& piece : pieces) release(piece);
}

TEST_F(LargePages, BlocksShareAPage) {
  const Piece first = allocate(3 * kPage / 2);
  EXPECT_EQ(misaligned(first.data, kPage), 0U);
  const std::size_t mapped = pages_.mapped_bytes();
  const Piece second = allocate(kPage);
  const Piece third = allocate(kPage / 2);
  EXPECT_EQ(second.data, first.data + first.bytes);
  EXPECT_EQ(third.data, second.data + second.bytes);
  EXPECT_EQ(pages_.mapped_bytes(), mapped);
  for (const Piece& piece : {second, first, third}) release(piece);
}

TEST_F(LargePages, AFreeBlockIsUsedAgainBeforeNewPages) {
  const Piece first = allocate(kPage / 4);
  const Piece second = allocate(kPage / 2);
  const Piece third = allocate(kPage / 4);
  release(second);
  const Piece small = allocate(kPage / 8);
  EXPECT_EQ(small.data, second.data);
  const Piece beside = allocate(3 * kPage / 8);
  EXPECT_EQ(beside.data, small.data + small.bytes);
  for (const Piece& piece : {first, small, beside, third}) release(piece);
}

TEST_F(LargePages, NeighboursAreJoined) {
  std::vector<Piece> pieces;
  for (int i = 0; i < 8; ++i) pieces.push_back(allocate(kPage / 8));
  for (const int i : {2, 5, 3, 4}) release(pieces[static_cast<std::size_t>(i)]);
  const Piece joined = allocate(kPage / 2);
  EXPECT_EQ(joined.data, pieces[2].data);
  for (const int i : {0, 1, 6, 7}) release(pieces[static_cast<std::size_t>(i)]);
  release(joined);
}

TEST_F(LargePages, APageGoesBackWithItsLastBlock) {
  const Piece first = allocate(kPage / 2);
  const Piece middle = allocate(4 * kPage);
  const Piece last = allocate(12 * kPage - kPage / 2);
  const std::size_t mapped = pages_.mapped_bytes();
  release(middle);  // its first page is shared with one neighbour, its last with the other
  EXPECT_EQ(pages_.mapped_bytes(), mapped - 3 * kPage);
  release(first);
  EXPECT_EQ(pages_.mapped_bytes(), mapped - 4 * kPage);
  EXPECT_TRUE(holds_pattern(last));
  release(last);
  EXPECT_EQ(pages_.mapped_bytes(), 0U);
}

TEST_F(LargePages, RefusesWhatTheSystemDoesNotHave) {
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  for (const std::size_t bytes : {kMost, kMost - kPage, kMost - 3 * kPage, kMost / 2}) {
    EXPECT_EQ(pages_.allocate(bytes), nullptr) << bytes;
  }
  release(allocate(kPage));
}

// Takes and gives back at random, and looks at the content each time.
void churn(LargePageAllocator& pages, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Piece> pieces;
  for (int i = 0; i < 2000; ++i) {
    if (pieces.size() > 40 || (!pieces.empty() && random() % 3 == 0)) {
      std::swap(pieces[random() % pieces.size()], pieces.back());
      ASSERT_TRUE(holds_pattern(pieces.back())) << "step " << i << ", seed " << seed;
      pages.release(pieces.back().data, pieces.back().bytes);
      pieces.pop_back();
    } else {
      const std::size_t bytes = 1 + random() % (random() % 16 == 0 ? 3 * kPage : kPage / 32);
      auto* const data = static_cast<std::byte*>(pages.allocate(bytes));
      ASSERT_NE(data, nullptr);
      pieces.push_back({data, bytes, static_cast<unsigned char>(random())});
      std::memset(data, pieces.back().pattern, bytes);
    }
  }
  for (const Piece& piece : pieces) {
    EXPECT_TRUE(holds_pattern(piece));
    pages.release(piece.data, piece.bytes);
  }
}

TEST_F(LargePages, NothingIsLostWhateverComesAndGoes) {
  for (unsigned seed = 1; seed <= 3; ++seed) churn(pages_, seed);
}

TEST_F(LargePages, ThreadsMayShareIt) {
  std::vector<std::thread> threads;
  for (unsigned seed = 10; seed < 14; ++seed) {
    threads.emplace_back([this, seed] { churn(pages_, seed); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

}  // namespace wick::cpu
