#include "wick/layout/shape.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "wick/base/error.hpp"

namespace wick {

namespace {

// The most elements a shape may have: times 8 bytes they fit in 63 bits.
constexpr std::int64_t kMostElements = INT64_MAX / 8;

// The error that making a shape of `dims` throws.
void expect_refused(const std::vector<std::int64_t>& dims, const std::string& listed) {
  try {
    const Shape shape(dims);
    ADD_FAILURE() << to_string(shape) << " was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kShape);
    EXPECT_EQ(error.op(), "shape");
    EXPECT_NE(std::string(error.what()).find(listed), std::string::npos) << error.what();
  }
}

TEST(Shape, OfRankZeroIsAScalar) {
  const Shape scalar;
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.numel(), 1);
  EXPECT_TRUE(scalar.dims().empty());
  EXPECT_TRUE(scalar.to_vector().empty());
  EXPECT_EQ(to_string(scalar), "[]");
  EXPECT_EQ(scalar, Shape(std::vector<std::int64_t>{}));
}

TEST(Shape, KeepsItsSizes) {
  const Shape shape{8, 128, 4096};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], 8);
  EXPECT_EQ(shape[1], 128);
  EXPECT_EQ(shape[2], 4096);
  EXPECT_EQ(shape.numel(), 8 * 128 * 4096);
  EXPECT_EQ(shape.to_vector(), (std::vector<std::int64_t>{8, 128, 4096}));
  EXPECT_EQ(to_string(shape), "[8,128,4096]");
}

TEST(Shape, OfTheHighestRank) {
  const Shape shape{1, 2, 3, 4, 5, 6};
  EXPECT_EQ(shape.rank(), kMaxRank);
  EXPECT_EQ(shape.numel(), 720);
  EXPECT_EQ(to_string(shape), "[1,2,3,4,5,6]");
}

TEST(Shape, OfAHigherRankIsRefused) {
  expect_refused({1, 2, 3, 4, 5, 6, 7}, "[1,2,3,4,5,6,7]");
  expect_refused({1, 2, 3, 4, 5, 6, 7}, "at most 6 dimensions");
  expect_refused(std::vector<std::int64_t>(20, 1), "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]");
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1, 1}), Error);
}

TEST(Shape, WithANegativeSizeIsRefused) {
  expect_refused({2, -1, 3}, "[2,-1,3]");
  expect_refused({2, -1, 3}, "negative");
  expect_refused({-4096}, "[-4096]");
  expect_refused({INT64_MIN}, "[-9223372036854775808]");
  expect_refused({0, -1}, "[0,-1]");
}

TEST(Shape, WithTooManyElementsIsRefused) {
  expect_refused({INT64_MAX}, "[9223372036854775807]");
  expect_refused({kMostElements + 1}, "overflow");
  expect_refused({1LL << 30, 1LL << 30}, "[1073741824,1073741824]");
  expect_refused({1LL << 20, 1LL << 20, 1LL << 20}, "overflow");
  // A product that wraps around to something small and positive.
  expect_refused({1LL << 32, (1LL << 32) + 1}, "[4294967296,4294967297]");
  expect_refused({1LL << 62, 4}, "overflow");
  expect_refused({3037000500, 3037000500}, "overflow");
}

TEST(Shape, WithAsManyElementsAsCanBeIsTaken) {
  EXPECT_EQ(Shape({kMostElements}).numel(), kMostElements);
  EXPECT_EQ(Shape({1, kMostElements, 1}).numel(), kMostElements);
  EXPECT_EQ(Shape({1LL << 30, (1LL << 30) - 1}).numel(), (1LL << 60) - (1LL << 30));
  expect_refused({kMostElements, 2}, "[1152921504606846975,2]");
}

TEST(Shape, WithAZeroSizeIsEmpty) {
  EXPECT_EQ(Shape({0}).numel(), 0);
  EXPECT_EQ(Shape({3, 0, 5}).numel(), 0);
  EXPECT_EQ(Shape({0, 0}).numel(), 0);
  EXPECT_EQ(to_string(Shape{3, 0, 5}), "[3,0,5]");
  // Views of it must not overflow either, so the other sizes still count.
  expect_refused({0, 1LL << 31, 1LL << 31}, "[0,2147483648,2147483648]");
}

TEST(Shape, EqualMeansRankAndSizes) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_NE((Shape{1, 2}), (Shape{2}));
  EXPECT_NE((Shape{0}), Shape());
  EXPECT_NE((Shape{1}), Shape());
}

TEST(Shape, IsMadeFromARunTimeListToo) {
  const std::vector<std::int64_t> dims{4, 0, 7};
  EXPECT_EQ(Shape(dims), (Shape{4, 0, 7}));
}

}  // namespace

}  // namespace wick
