#include "wick/nn/kv_cache.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "nn/nn_support.hpp"

namespace wick::test {

namespace {

constexpr std::int64_t kLayers = 2;
constexpr std::int64_t kHeads = 1;
constexpr std::int64_t kDim = 2;

KvCache cache_of(std::int64_t batch, std::int64_t capacity) {
  return KvCache(kLayers, batch, capacity, kHeads, kDim, DType::kF32);
}

// [B,T,1,2] that counts on from `first`.
Tensor counting(std::int64_t batch, std::int64_t length, float first) {
  std::vector<float> values(static_cast<std::size_t>(batch * length * kHeads * kDim));
  for (float& value : values) value = first++;
  return Tensor::from_values(values, {batch, length, kHeads, kDim});
}

TEST(KvCache, GrowsWithoutMoving) {
  KvCache cache = cache_of(1, 4);
  const Tensor k = counting(1, 2, 1);
  const Tensor v = counting(1, 2, 101);
  const KvCache::Keys first = cache.append(0, k, v);
  EXPECT_EQ(cache.length(), 0);
  cache.append(1, v, k);
  cache.advance(2);
  EXPECT_EQ(cache.length(), 2);
  EXPECT_EQ(floats(first.k), floats(k));
  EXPECT_EQ(floats(first.v), floats(v));

  const KvCache::Keys second = cache.append(0, counting(1, 1, 5), counting(1, 1, 105));
  EXPECT_EQ(floats(second.k), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(floats(second.v), (std::vector<float>{101, 102, 103, 104, 105, 106}));
  // Views of one memory: nothing that was there is copied for a new position.
  EXPECT_TRUE(second.k.shares_storage_with(first.k));
  EXPECT_TRUE(second.v.shares_storage_with(first.v));
  EXPECT_EQ(floats(cache.append(1, v, k).k),
            (std::vector<float>{101, 102, 103, 104, 101, 102, 103, 104}));
}

TEST(KvCache, WritesWhereAPositionInMemoryStands) {
  KvCache cache = cache_of(2, 5);
  cache.append(0, counting(2, 2, 1), counting(2, 2, 101));
  cache.advance(2);
  const Tensor position = Tensor::zeros({}, DType::kI32);
  cache.read_position(position, 4);
  for (std::int32_t at = 2; at < 4; ++at) {
    copy_(position, Tensor::from_values(std::vector{at}, {}));
    const KvCache::Keys keys = cache.append(0, counting(2, 1, 10), counting(2, 1, 20));
    EXPECT_EQ(keys.k.shape(), Shape({2, 4, kHeads, kDim}));
    EXPECT_EQ(floats(slice(keys.k, 1, at, at + 1)), (std::vector<float>{10, 11, 12, 13}));
    EXPECT_EQ(floats(slice(keys.v, 1, at, at + 1)), (std::vector<float>{20, 21, 22, 23}));
    EXPECT_EQ(floats(slice(keys.v, 1, 0, 2)),
              (std::vector<float>{101, 102, 103, 104, 105, 106, 107, 108}));
    // What is hidden may be read: it is a number.
    for (const float value : floats(slice(keys.v, 1, at + 1, 4))) EXPECT_EQ(value, 0);
    cache.advance(1);
  }
  cache.stop_reading_position();
  EXPECT_EQ(cache.append(0, counting(2, 1, 1), counting(2, 1, 1)).k.dim(1), 5);
}

TEST(KvCache, RefusesPositionsItCannotRead) {
  KvCache cache = cache_of(1, 4);
  const auto zeros = [](const Shape& shape, DType dtype, Device device = kCpuDevice) {
    return Tensor::zeros(shape, dtype, device);
  };
  EXPECT_THROW(cache.read_position(zeros({}, DType::kI64), 4), Error);
  EXPECT_THROW(cache.read_position(zeros({1}, DType::kI32), 4), Error);
  EXPECT_THROW(cache.read_position(zeros({}, DType::kI32, kNullDevice), 4), Error);
  EXPECT_THROW(cache.read_position(zeros({}, DType::kI32), 5), Error);
  EXPECT_THROW(cache.read_position(zeros({}, DType::kI32), 0), Error);
  const Tensor position = Tensor::from_values(std::vector<std::int32_t>{4}, {});
  cache.read_position(position, 4);
  EXPECT_THROW(cache.append(0, counting(1, 1, 1), counting(1, 1, 1)), Error);
}

TEST(KvCache, ForgetsTheEnd) {
  KvCache cache = cache_of(1, 4);
  cache.append(0, counting(1, 3, 1), counting(1, 3, 1));
  cache.advance(3);
  cache.truncate(1);
  EXPECT_EQ(cache.length(), 1);
  EXPECT_EQ(floats(cache.append(0, counting(1, 1, 9), counting(1, 1, 9)).k),
            (std::vector<float>{1, 2, 9, 10}));
  cache.truncate(0);
  EXPECT_EQ(cache.length(), 0);
  EXPECT_TRUE(has(error_of([&] { cache.truncate(1); }), "cannot be cut from 0 to 1"));
  EXPECT_TRUE(has(error_of([&] { cache.truncate(-1); }), "cannot be cut from 0 to -1"));
}

TEST(KvCache, KeepsRowsInTheOrderAsked) {
  KvCache cache = cache_of(3, 2);
  cache.append(0, counting(3, 1, 1), counting(3, 1, 11));
  cache.advance(1);
  cache.keep_rows({2, 0});
  EXPECT_EQ(cache.batch(), 2);
  EXPECT_EQ(cache.length(), 1);
  const KvCache::Keys keys = cache.append(0, counting(2, 1, 20), counting(2, 1, 30));
  EXPECT_EQ(floats(keys.k), (std::vector<float>{5, 6, 20, 21, 1, 2, 22, 23}));
  EXPECT_EQ(floats(keys.v), (std::vector<float>{15, 16, 30, 31, 11, 12, 32, 33}));
  cache.keep_rows({1, 1});
  EXPECT_EQ(floats(cache.append(0, counting(2, 1, 0), counting(2, 1, 0)).k),
            (std::vector<float>{1, 2, 0, 1, 1, 2, 2, 3}));
  EXPECT_TRUE(has(error_of([&] { cache.keep_rows({2}); }), "has no row 2"));
  EXPECT_TRUE(has(error_of([&] { cache.keep_rows({-1}); }), "has no row -1"));
  EXPECT_TRUE(has(error_of([&] { cache.keep_rows({}); }), "must keep at least one row"));
}

TEST(KvCache, RefusesWhatDoesNotFit) {
  KvCache cache = cache_of(2, 3);
  const Tensor two = counting(2, 2, 0);
  cache.append(0, two, two);
  cache.advance(2);
  EXPECT_TRUE(has(error_of([&] { cache.append(0, two, two); }),
                  "argument: kv_cache: holds 3 positions, 2 of them taken; asked for 2 more"));
  EXPECT_TRUE(has(error_of([&] { cache.advance(2); }), "asked for 2 more"));
  EXPECT_TRUE(has(error_of([&] { cache.advance(-1); }), "asked for -1 more"));
  const Tensor one = counting(2, 1, 0);
  EXPECT_TRUE(has(error_of([&] { cache.append(2, one, one); }), "has no layer 2"));
  EXPECT_TRUE(has(error_of([&] { cache.append(-1, one, one); }), "has no layer -1"));
  // A single row must not be repeated for all.
  const Tensor row = counting(1, 1, 0);
  EXPECT_TRUE(has(error_of([&] { cache.append(0, row, row); }),
                  "shape: kv_cache: k and v must be [2,T,1,2], got [1,1,1,2]"));
  EXPECT_TRUE(has(error_of([&] { cache.append(0, one, two); }), "k and v must have one length"));
  EXPECT_TRUE(has(error_of([] { cache_of(0, 1); }), "must be at least 1"));
  EXPECT_TRUE(has(error_of([] { cache_of(1, 0); }), "must be at least 1"));
}

TEST(KvCache, LosesNoGradientInSilence) {
  KvCache cache = cache_of(1, 2);
  const Tensor k = counting(1, 1, 0).set_requires_grad(true);
  const Tensor v = counting(1, 1, 0);
  EXPECT_TRUE(has(error_of([&] { cache.append(0, k, v); }), "unsupported: kv_cache: passes no"));
  const NoGradGuard no_gradient;
  EXPECT_NO_THROW(cache.append(0, k, v));
}

}  // namespace

}  // namespace wick::test
