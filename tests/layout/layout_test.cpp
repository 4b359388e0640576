// Views are checked against a list of the addresses of all elements in row-major order: what is
// done to a layout is done to that list by plain indexing; both must name the same addresses.

#include "layout/layout.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace wick {

namespace {

using Index = std::vector<std::int64_t>;

// Every index of a shape in row-major order; one empty index for a scalar.
std::vector<Index> indices_of(const Index& sizes) {
  std::vector<Index> all{{}};
  for (const std::int64_t size : sizes) {
    std::vector<Index> longer;
    for (const Index& index : all) {
      for (std::int64_t i = 0; i < size; ++i) {
        longer.push_back(index);
        longer.back().push_back(i);
      }
    }
    all = std::move(longer);
  }
  return all;
}

struct Listed {
  Index sizes;
  std::vector<std::int64_t> addresses;  // row-major

  std::int64_t at(const Index& index) const {
    std::int64_t position = 0;
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
      position = position * sizes[axis] + index[axis];
    }
    return addresses[static_cast<std::size_t>(position)];
  }
  // A list of another shape whose element at `index` is this one's at map(index).
  template <class Map>
  Listed mapped(const Index& new_sizes, const Map& map) const {
    Listed result{new_sizes, {}};
    for (const Index& index : indices_of(new_sizes)) result.addresses.push_back(at(map(index)));
    return result;
  }
};

Listed list(const Layout& layout) {
  Listed result{layout.shape.to_vector(), {}};
  for (const Index& index : indices_of(result.sizes)) {
    std::int64_t address = layout.offset;
    for (std::size_t axis = 0; axis < index.size(); ++axis) {
      address += index[axis] * layout.strides[axis];
    }
    result.addresses.push_back(address);
  }
  return result;
}

std::string describe(const Layout& layout) {
  std::string text = to_string(layout.shape) + " strides";
  for (int axis = 0; axis < layout.shape.rank(); ++axis) {
    text += " " + std::to_string(layout.strides[static_cast<std::size_t>(axis)]);
  }
  return text + " offset " + std::to_string(layout.offset);
}

void expect_same(const Layout& layout, const Listed& wanted) {
  const Listed got = list(layout);
  EXPECT_EQ(got.sizes, wanted.sizes) << describe(layout);
  EXPECT_EQ(got.addresses, wanted.addresses) << describe(layout);
}

// Numbers of one seed.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(engine_() % static_cast<std::uint32_t>(n));
  }
  Index sizes(int rank, std::int64_t largest) {
    Index result;
    for (int axis = 0; axis < rank; ++axis) result.push_back(1 + below(largest));
    return result;
  }

 private:
  std::mt19937 engine_;
};

struct Both {
  Layout layout;
  Listed listed;
};

void permute_both(Both& both, Random& random) {
  const int rank = both.layout.shape.rank();
  std::vector<int> order(static_cast<std::size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  for (int i = rank - 1; i > 0; --i) {
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(random.below(i + 1))]);
  }
  Index sizes;
  for (const int axis : order) sizes.push_back(both.listed.sizes[static_cast<std::size_t>(axis)]);
  both.layout = permute(both.layout, order);
  both.listed = both.listed.mapped(sizes, [&](const Index& index) {
    Index source(index.size());
    for (std::size_t i = 0; i < index.size(); ++i) {
      source[static_cast<std::size_t>(order[i])] = index[i];
    }
    return source;
  });
}

void slice_both(Both& both, Random& random) {
  const int rank = both.layout.shape.rank();
  if (rank == 0) return;
  const auto axis = static_cast<std::size_t>(random.below(rank));
  const std::int64_t size = both.listed.sizes[axis];
  const std::int64_t begin = random.below(size + 1);
  const std::int64_t end = begin + random.below(size - begin + 1);
  const std::int64_t step = 1 + random.below(4);
  Index sizes = both.listed.sizes;
  sizes[axis] = 0;
  for (std::int64_t i = begin; i < end; i += step) ++sizes[axis];
  both.layout = slice(both.layout, static_cast<int>(axis), begin, end, step);
  both.listed = both.listed.mapped(sizes, [&](Index index) {
    index[axis] = begin + index[axis] * step;
    return index;
  });
}

void broadcast_both(Both& both, Random& random) {
  Index sizes = both.listed.sizes;
  for (std::int64_t& size : sizes) {
    if (size == 1) size = random.below(4);
  }
  const auto room = static_cast<std::int64_t>(kMaxRank) - std::ssize(sizes);
  const Index front =
      random.sizes(static_cast<int>(random.below(std::min<std::int64_t>(room, 2) + 1)), 3);
  sizes.insert(sizes.begin(), front.begin(), front.end());
  const std::optional<Layout> layout = broadcast_to(both.layout, Shape(sizes));
  ASSERT_TRUE(layout.has_value()) << describe(both.layout) << " to " << to_string(Shape(sizes));
  both.layout = *layout;
  const Index from = both.listed.sizes;
  both.listed = both.listed.mapped(sizes, [&](const Index& index) {
    Index source(index.begin() + std::ssize(front), index.end());
    for (std::size_t i = 0; i < source.size(); ++i) {
      if (from[i] == 1) source[i] = 0;
    }
    return source;
  });
}

// True when strides can name these addresses under `shape`: each is the distance to a neighbour.
bool has_strides(const std::vector<std::int64_t>& addresses, const Shape& shape) {
  if (addresses.empty()) return true;
  const Listed listed{shape.to_vector(), addresses};
  Index strides(listed.sizes.size(), 0);
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    if (listed.sizes[axis] == 1) continue;
    Index neighbour(strides.size(), 0);
    neighbour[axis] = 1;
    strides[axis] = listed.at(neighbour) - addresses[0];
  }
  for (const Index& index : indices_of(listed.sizes)) {
    const std::int64_t steps =
        std::inner_product(index.begin(), index.end(), strides.begin(), std::int64_t{0});
    if (listed.at(index) != addresses[0] + steps) return false;
  }
  return true;
}

// All shapes of at most `rank` dimensions with `numel` elements.
std::vector<Index> factorings(std::int64_t numel, int rank) {
  if (rank == 0) return numel == 1 ? std::vector<Index>{{}} : std::vector<Index>{};
  std::vector<Index> all = factorings(numel, rank - 1);
  for (std::int64_t first = 1; first <= numel; ++first) {
    if (numel % first != 0) continue;
    for (const Index& rest : factorings(numel / first, rank - 1)) {
      if (static_cast<int>(rest.size()) != rank - 1) continue;
      all.push_back({first});
      all.back().insert(all.back().end(), rest.begin(), rest.end());
    }
  }
  return all;
}

// A reshape exists exactly where strides do, and names the same addresses. Returns whether it does.
bool check_reshape(const Layout& layout, const Shape& shape) {
  const Listed source = list(layout);
  const std::optional<Layout> result = reshape(layout, shape);
  EXPECT_EQ(result.has_value(), has_strides(source.addresses, shape))
      << describe(layout) << " to " << to_string(shape);
  if (result) expect_same(*result, {shape.to_vector(), source.addresses});
  return result.has_value();
}

TEST(ContiguousLayout, IsRowMajorWithoutGaps) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    Random random(seed);
    const Shape shape(random.sizes(static_cast<int>(seed % 7), 4));
    const Layout layout = contiguous_layout(shape);
    std::vector<std::int64_t> wanted(static_cast<std::size_t>(shape.numel()));
    std::iota(wanted.begin(), wanted.end(), 0);
    expect_same(layout, {shape.to_vector(), wanted});
    EXPECT_TRUE(is_contiguous(layout));
    EXPECT_EQ(extent(layout), shape.numel());
  }
}

TEST(Views, ChainsOfThemNameTheRightAddresses) {
  int dense = 0;
  int gapped = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    Random random(seed);
    const Shape shape(random.sizes(static_cast<int>(random.below(5)), 4));
    Both both{contiguous_layout(shape), list(contiguous_layout(shape))};
    for (std::int64_t step = random.below(4); step >= 0; --step) {
      const std::int64_t kind = random.below(3);
      if (kind == 0) permute_both(both, random);
      if (kind == 1) slice_both(both, random);
      if (kind == 2) broadcast_both(both, random);
      ASSERT_NO_FATAL_FAILURE(expect_same(both.layout, both.listed)) << "seed " << seed;
    }
    const std::vector<std::int64_t>& addresses = both.listed.addresses;
    bool is_dense = true;
    for (std::size_t i = 1; i < addresses.size(); ++i) {
      is_dense = is_dense && addresses[i] == addresses[0] + static_cast<std::int64_t>(i);
    }
    EXPECT_EQ(is_contiguous(both.layout), is_dense) << describe(both.layout);
    (is_dense ? dense : gapped) += 1;
    const std::int64_t span =
        addresses.empty() ? 0 : std::ranges::max(addresses) - std::ranges::min(addresses) + 1;
    EXPECT_EQ(extent(both.layout), span) << describe(both.layout);
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(dense, 100);
  EXPECT_GT(gapped, 100);
}

TEST(Reshape, OfRandomViewsExistsExactlyWhereStridesDo) {
  int possible = 0;
  int impossible = 0;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    Random random(seed);
    const Shape shape(random.sizes(1 + static_cast<int>(random.below(4)), 4));
    Both both{contiguous_layout(shape), list(contiguous_layout(shape))};
    if (seed % 2 == 0) permute_both(both, random);
    if (seed % 3 != 0) slice_both(both, random);
    if (seed % 5 < 2) broadcast_both(both, random);
    const std::int64_t numel = both.layout.shape.numel();
    if (numel == 0 || numel > 150) continue;
    for (const Index& sizes : factorings(numel, 4)) {
      check_reshape(both.layout, Shape(sizes)) ? ++possible : ++impossible;
    }
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(possible, 1000);
  EXPECT_GT(impossible, 1000);
}

TEST(Reshape, OfEverySmallStridedMatrix) {
  int possible = 0;
  for (std::int64_t rows = 1; rows <= 4; ++rows) {
    for (std::int64_t columns = 1; columns <= 6; ++columns) {
      for (std::int64_t row_stride = 0; row_stride <= 12; ++row_stride) {
        for (std::int64_t column_stride = 0; column_stride <= 6; ++column_stride) {
          const Layout layout{
              .shape = {rows, columns}, .strides = {row_stride, column_stride}, .offset = 5};
          for (const Index& sizes : factorings(rows * columns, 3)) {
            possible += check_reshape(layout, Shape(sizes)) ? 1 : 0;
          }
        }
      }
    }
  }
  EXPECT_GT(possible, 1000);
}

TEST(Reshape, OfAnEmptyViewIsAlwaysPossible) {
  const Layout empty = slice(contiguous_layout({3, 4}), 1, 2, 2);
  for (const Shape& shape : {Shape{0}, Shape{3, 0}, Shape{0, 7, 2}, Shape{1, 0, 1}}) {
    const std::optional<Layout> result = reshape(empty, shape);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->shape, shape);
  }
}

TEST(Reshape, OfAScalarAndBack) {
  const Layout scalar{.shape = {}, .strides = {}, .offset = 9};
  const std::optional<Layout> one = reshape(scalar, {1, 1, 1});
  ASSERT_TRUE(one.has_value());
  expect_same(*one, {{1, 1, 1}, {9}});
  const std::optional<Layout> back = reshape(*one, {});
  ASSERT_TRUE(back.has_value());
  expect_same(*back, {{}, {9}});
}

TEST(Slice, AcceptsAnyStep) {
  const Layout layout = contiguous_layout({4, 3});
  expect_same(slice(layout, 0, 1, 4, INT64_MAX), {{1, 3}, {3, 4, 5}});
  expect_same(slice(layout, 0, 2, 2, INT64_MAX), {{0, 3}, {}});
  expect_same(slice(layout, 1, 0, 3, 1LL << 62), {{4, 1}, {0, 3, 6, 9}});
}

TEST(BroadcastTo, RefusesWhatDoesNotFit) {
  const Layout layout = contiguous_layout({2, 3});
  EXPECT_FALSE(broadcast_to(layout, {3}).has_value());
  EXPECT_FALSE(broadcast_to(layout, {}).has_value());
  EXPECT_FALSE(broadcast_to(layout, {2, 4}).has_value());
  EXPECT_FALSE(broadcast_to(layout, {4, 3}).has_value());
  EXPECT_FALSE(broadcast_to(layout, {2, 1}).has_value());
  EXPECT_FALSE(broadcast_to(layout, {2, 0}).has_value());
  EXPECT_FALSE(broadcast_to(layout, {3, 2, 4}).has_value());
  EXPECT_TRUE(broadcast_to(contiguous_layout({1, 3}), {0, 3}).has_value());
  EXPECT_TRUE(broadcast_to(layout, {7, 2, 3}).has_value());
}

// Counted from the last dimension, a missing size is 1.
std::optional<Index> broadcast_by_hand(Index a, Index b) {
  const std::size_t rank = std::max(a.size(), b.size());
  a.insert(a.begin(), rank - a.size(), 1);
  b.insert(b.begin(), rank - b.size(), 1);
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (a[axis] == 1) a[axis] = b[axis];
    if (b[axis] != 1 && b[axis] != a[axis]) return std::nullopt;
  }
  return a;
}

TEST(BroadcastShapes, FollowsTheRuleForRandomShapes) {
  int fits = 0;
  for (unsigned seed = 0; seed < 5000; ++seed) {
    Random random(seed);
    Index a = random.sizes(static_cast<int>(random.below(7)), 3);
    Index b = random.sizes(static_cast<int>(random.below(7)), 3);
    for (std::int64_t& size : a) size -= random.below(8) == 0 ? 1 : 0;
    for (std::int64_t& size : b) size -= random.below(8) == 0 ? 1 : 0;
    const std::optional<Index> wanted = broadcast_by_hand(a, b);
    const std::optional<Shape> shape = broadcast_shapes(Shape(a), Shape(b));
    ASSERT_EQ(shape.has_value(), wanted.has_value()) << to_string(Shape(a)) << to_string(Shape(b));
    ASSERT_EQ(broadcast_shapes(Shape(b), Shape(a)), shape);
    if (!shape) continue;
    ++fits;
    EXPECT_EQ(shape->to_vector(), *wanted);
    EXPECT_TRUE(broadcast_to(contiguous_layout(Shape(a)), *shape).has_value());
    EXPECT_TRUE(broadcast_to(contiguous_layout(Shape(b)), *shape).has_value());
  }
  EXPECT_GT(fits, 500);
}

}  // namespace

}  // namespace wick
