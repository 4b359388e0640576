// Attention of one new token of each sequence, with a cache, on every device: what rotation, memory and attention of the CPU in
// f32 make of the same numbers.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "harness/check_op.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/nn/kv_cache.hpp"
#include "wick/ops/move.hpp"

namespace wick::test {

namespace {

Tensor normal(std::uint64_t seed, const Shape& shape) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> draw(0, 1);
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (float& value : values) value = draw(rng);
  return Tensor::from_values(values, shape);
}

// The same numbers in f32 on the CPU.
Tensor exact(const Tensor& x) { return cast(x.to(kCpuDevice), DType::kF32); }

struct Sizes {
  std::string name;
  std::int64_t batch, heads, kv_heads, head_dim, rotary_dim, seen;
  std::int64_t window = 0;
  bool masked = false;    // rows of different lengths, padded on the left
  bool recorded = false;  // the position is read from memory, and positions behind it are shown
};

std::vector<Sizes> all_sizes() {
  return {{"first_token", 1, 4, 2, 64, 64, 0},
          {"qwen_7b", 1, 28, 4, 128, 128, 640, 0, false, true},
          {"qwen_half_b", 1, 14, 2, 64, 64, 301},
          {"every_head_its_own", 3, 8, 8, 128, 128, 77, 0, true},
          {"many_heads_of_one", 2, 16, 1, 80, 80, 1000, 0, true, true},
          {"large_heads", 1, 4, 1, 256, 256, 33},
          {"large_heads_in_groups", 2, 16, 2, 256, 256, 700},
          {"rotated_in_part", 1, 2, 1, 96, 48, 5, 0, false, true},
          {"many_sequences", 70, 8, 2, 64, 64, 20, 0, true},
          {"long", 1, 28, 4, 128, 128, 5000},
          {"window", 1, 12, 4, 128, 128, 3000, 1000},
          {"short_window", 2, 3, 1, 64, 64, 100, 1},
          {"odd_heads", 1, 6, 2, 20, 12, 50}};
}

// The first key of row b that is not padding.
std::int64_t first_of(const Sizes& s, std::int64_t b) { return s.masked ? b % (s.seen + 1) : 0; }

Tensor positions_of(const Sizes& s) {
  std::vector<std::int32_t> values;
  values.reserve(static_cast<std::size_t>(s.batch));
  for (std::int64_t b = 0; b < s.batch; ++b) {
    values.push_back(static_cast<std::int32_t>(s.seen - first_of(s, b)));
  }
  return Tensor::from_values(values, {s.batch, 1});
}

Tensor mask_of(const Sizes& s, std::int64_t visible) {
  Tensor mask = Tensor::zeros({s.batch, visible}, DType::kBool);
  for (std::int64_t b = 0; b < s.batch; ++b) {
    fill_(slice(slice(mask, 0, b, b + 1), 1, first_of(s, b), s.seen + 1), 1);
  }
  return mask;
}

// What a layer is given, on the CPU.
struct Layer {
  Tensor q, k, v, old_k, old_v;

  explicit Layer(const Sizes& s)
      : q(normal(1, {s.batch, 1, s.heads, s.head_dim})),
        k(normal(2, {s.batch, 1, s.kv_heads, s.head_dim})),
        v(normal(3, {s.batch, 1, s.kv_heads, s.head_dim})),
        old_k(normal(4, {s.batch, s.seen, s.kv_heads, s.head_dim})),
        old_v(normal(5, {s.batch, s.seen, s.kv_heads, s.head_dim})) {
    if (!s.masked) return;
    for (std::int64_t b = 0; b < s.batch; ++b) {  // what is hidden must not show
      constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
      const auto hide = [&](const Tensor& x) {
        if (first_of(s, b) > 0) fill_(slice(slice(x, 0, b, b + 1), 1, 0, first_of(s, b)), kNan);
      };
      hide(old_k);
      hide(old_v);
    }
  }
};

struct Attended {
  Tensor out, k, v;
};

Attended attend_on(Device device, DType dtype, const Sizes& s, const Layer& x) {
  const auto there = [&](const Tensor& t) { return cast(t, dtype).to(device); };
  const std::int64_t visible = s.recorded ? s.seen + 30 : s.seen + 1;
  KvCache cache(1, s.batch, visible, s.kv_heads, s.head_dim, dtype, device);
  if (s.seen > 0) cache.append(0, there(x.old_k), there(x.old_v));
  cache.advance(s.seen);
  Tensor mask;
  if (s.masked || s.recorded) mask = mask_of(s, visible).to(device);
  if (s.recorded) {
    const auto at = static_cast<std::int32_t>(s.seen);
    cache.read_position(Tensor::from_values(std::vector{at}, {}).to(device), visible);
  }
  const RopeFrequencies frequencies = rope_frequencies({.rotary_dim = s.rotary_dim}, device);
  const Tensor out = cache.attend(0, there(x.q), there(x.k), there(x.v), positions_of(s).to(device),
                                  frequencies, {.window = s.window, .key_mask = mask});
  // A view of all positions: what the next token would be given.
  cache.stop_reading_position();
  cache.advance(1);
  const Tensor none = Tensor::zeros({s.batch, 0, s.kv_heads, s.head_dim}, dtype, device);
  const KvCache::Keys keys = cache.append(0, none, none);
  return {out, keys.k, keys.v};
}

// By the ops in f32, which round what the cache holds.
Tensor expected_out(DType dtype, const Sizes& s, const Layer& x) {
  const auto rounded = [&](const Tensor& t) { return exact(cast(t, dtype)); };
  const RopeFrequencies frequencies = rope_frequencies({.rotary_dim = s.rotary_dim});
  const RotatedPair turned = rope(rounded(x.q), rounded(x.k), positions_of(s), frequencies);
  Tensor k = rounded(turned.k);
  Tensor v = rounded(x.v);
  if (s.seen > 0) {
    k = concatenate({rounded(x.old_k), k}, 1);
    v = concatenate({rounded(x.old_v), v}, 1);
  }
  AttentionOptions options{.window = s.window};
  if (s.masked) options.key_mask = mask_of(s, s.seen + 1);
  return attention(rounded(turned.q), k, v, options);
}

void expect_close(const Tensor& got, const Tensor& expected, double relative, double absolute) {
  ASSERT_EQ(got.shape(), expected.shape());
  const std::vector<float> a = exact(got).to_vector<float>();
  const std::vector<float> b = expected.to_vector<float>();
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_NEAR(a[i], b[i], relative * std::abs(b[i]) + absolute) << i;
  }
}

struct Case {
  Device device;
  Sizes sizes;
};

std::string name_of(const Case& one) {
  return std::string(to_string(one.device.type)) + "_" + one.sizes.name;
}

std::ostream& operator<<(std::ostream& out, const Case& one) { return out << name_of(one); }

class AttentionOfATokenOn : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionOfATokenOn, IsRotationMemoryAndAttention) {
  const auto& [device, s] = GetParam();
  const NoGradGuard no_gradient;
  const Layer x(s);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    SCOPED_TRACE(to_string(dtype));
    const double step = dtype == DType::kF32 ? 1e-5 : dtype == DType::kBF16 ? 0x1p-8 : 0x1p-11;
    const Attended got = attend_on(device, dtype, s, x);
    expect_close(got.out, expected_out(dtype, s, x), step, step);
    // The new key and value are where the next token looks for them.
    const auto newest = [&](const Tensor& t) { return slice(t, 1, s.seen, s.seen + 1); };
    const RopeFrequencies frequencies = rope_frequencies({.rotary_dim = s.rotary_dim});
    const Tensor turned = rope(exact(cast(x.k, dtype)), positions_of(s), frequencies);
    expect_close(newest(got.k), turned, step, step / 64);
    expect_close(newest(got.v), exact(cast(x.v, dtype)), 0, 0);
    // The same bits each time.
    const Attended again = attend_on(device, dtype, s, x);
    EXPECT_EQ(exact(again.out).to_vector<float>(), exact(got.out).to_vector<float>());
  }
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const Device device : wick::testing::computing_devices()) {
    for (const Sizes& sizes : all_sizes()) {
      // mps records nothing, and reads no position from memory.
      if (sizes.recorded && device.type == DeviceType::kMps) continue;
      list.push_back({device, sizes});
    }
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(, AttentionOfATokenOn, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return name_of(test.param); });

TEST(AttentionOfAToken, RefusesWhatItsOpsRefuse) {
  const NoGradGuard no_gradient;
  KvCache cache(1, 1, 1, 2, 64, DType::kF32);
  const RopeFrequencies frequencies = rope_frequencies({.rotary_dim = 64});
  const Tensor positions = Tensor::zeros({1, 1}, DType::kI32);
  const auto heads = [](std::int64_t count) {
    return Tensor::zeros({1, 1, count, 64}, DType::kF32);
  };
  const auto attend = [&](std::int64_t layer, const Tensor& q, const Tensor& at,
                          const AttentionOptions& options) {
    cache.attend(layer, q, heads(2), heads(2), at, frequencies, options);
  };
  EXPECT_THROW(attend(1, heads(4), positions, {}), Error);
  EXPECT_THROW(attend(0, heads(3), positions, {}), Error);
  EXPECT_THROW(attend(0, heads(4), Tensor::zeros({2, 1}, DType::kI32), {}), Error);
  EXPECT_THROW(attend(0, heads(4), Tensor::zeros({1, 1}, DType::kF32), {}), Error);
  EXPECT_THROW(attend(0, heads(4), positions, {.window = -1}), Error);
  EXPECT_THROW(attend(0, heads(4), positions, {.key_mask = Tensor::zeros({1, 2}, DType::kBool)}),
               Error);
  EXPECT_NO_THROW(attend(0, heads(4), positions, {}));
  cache.advance(1);
  EXPECT_THROW(attend(0, heads(4), positions, {}), Error);  // full
}

}  // namespace

}  // namespace wick::test
