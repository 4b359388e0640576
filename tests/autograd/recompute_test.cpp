// What ops leave out of the tape under a RecomputeGuard, and make again in backward().

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "wick/runtime/memory.hpp"
#include "wick/wick.hpp"

namespace wick {

namespace {

constexpr std::int64_t kRows = 64, D = 32, F = 96, R = 4;

Tensor random(const Shape& shape, std::uint64_t seed, DType dtype = DType::kF32, double std = 1) {
  return random_normal(shape, dtype, {.seed = seed}, 0, std);
}

struct Adapted {
  Adapted(std::int64_t outputs, std::int64_t inputs, std::uint64_t seed, DType dtype)
      : weight(random({outputs, inputs}, seed, dtype, 0.2)),
        a(random({R, inputs}, seed + 1, DType::kF32, 0.2)),
        b(random({outputs, R}, seed + 2, DType::kF32, 0.2)) {
    a.set_requires_grad(true);
    b.set_requires_grad(true);
  }
  LoraOperands operands() const { return {.weight = weight, .lora_a = a, .lora_b = b}; }
  Tensor operator()(const Tensor& x) const { return lora_linear(x, weight, Tensor(), a, b); }

  Tensor weight, a, b;
};

// A feed-forward block as a model has it; `joined` layers read x in one op.
struct Block {
  Block(std::uint64_t seed, DType dtype, bool is_joined)
      : norm(random({D}, seed)),
        gate(F, D, seed + 10, dtype),
        up(F, D, seed + 20, dtype),
        down(D, F, seed + 30, dtype),
        joined(is_joined) {
    norm.set_requires_grad(true);
  }
  NormedSum operator()(const NormedSum& in) const {
    std::vector<Tensor> halves;
    if (joined) {
      halves = lora_linears(in.normed, {gate.operands(), up.operands()});
    } else {
      halves = {gate(in.normed), up(in.normed)};
    }
    return add_rms_norm(in.sum, down(swiglu(halves[0], halves[1])), norm);
  }

  Tensor norm;
  Adapted gate, up, down;
  bool joined;
};

struct Outcome {
  std::vector<std::vector<float>> values;  // of the result and of each gradient
  std::int64_t peak = 0;                   // above what was there before
  std::int64_t kept = 0;                   // after the forward pass
};

std::vector<float> floats(const Tensor& tensor) {
  return cast(tensor.detach(), DType::kF32).to_vector<float>();
}

Outcome train(bool recompute, DType dtype, bool joined) {
  std::vector<Block> blocks;
  for (std::uint64_t i = 0; i < 6; ++i) blocks.emplace_back(100 * i, dtype, joined);
  const Tensor x = random({kRows, D}, 7, dtype);
  x.set_requires_grad(true);
  const Tensor dy = random({kRows, D}, 8, dtype);
  const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
  reset_peak_memory(kCpuDevice);
  Outcome outcome;
  Tensor y;
  {
    const RecomputeGuard guard(recompute);
    NormedSum state{.sum = x, .normed = rms_norm(x, blocks[0].norm)};
    for (const Block& block : blocks) state = block(state);
    y = state.normed;
  }
  outcome.kept = memory_stats(kCpuDevice).live_bytes - before;
  backward(y, dy);
  outcome.peak = memory_stats(kCpuDevice).peak_bytes - before;
  outcome.values = {floats(y), floats(x.grad())};
  for (const Block& block : blocks) {
    outcome.values.push_back(floats(block.norm.grad()));
    for (const Adapted* layer : {&block.gate, &block.up, &block.down}) {
      outcome.values.push_back(floats(layer->a.grad()));
      outcome.values.push_back(floats(layer->b.grad()));
    }
  }
  for (const std::vector<float>& values : outcome.values) {
    EXPECT_TRUE(std::ranges::any_of(values, [&](float value) { return value != values.front(); }));
  }
  return outcome;
}

struct Way {
  DType dtype;
  bool joined;
};

class Recompute : public ::testing::TestWithParam<Way> {};

TEST_P(Recompute, GivesTheSameBitsFromLessMemory) {
  const auto [dtype, joined] = GetParam();
  const Outcome plain = train(false, dtype, joined);
  const Outcome again = train(true, dtype, joined);
  EXPECT_EQ(again.values, plain.values);
  // Six blocks keep a normed input and a product less each; the last result is somebody's.
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t saved = 6 * kRows * (D + F) * size;
  EXPECT_EQ(plain.kept - again.kept, saved);
  // Those of one block at a time are made again.
  EXPECT_GE(plain.peak - again.peak, saved - kRows * (D + F) * size);
}

INSTANTIATE_TEST_SUITE_P(Ways, Recompute,
                         ::testing::Values(Way{DType::kF32, false}, Way{DType::kF32, true},
                                           Way{DType::kBF16, false}, Way{DType::kBF16, true}),
                         [](const auto& test) {
                           return std::string(to_string(test.param.dtype)) +
                                  (test.param.joined ? "_joined" : "_apart");
                         });

TEST(RecomputeGuard, FreesEverythingAtTheEnd) {
  const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
  train(true, DType::kF32, true);
  EXPECT_EQ(memory_stats(kCpuDevice).live_bytes, before);
}

TEST(RecomputeGuard, EndsWithItsScope) {
  const Tensor w = random({D, D}, 1).set_requires_grad(true);
  const auto kept_by = [&](const std::function<Tensor()>& forward) {
    const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
    const Tensor y = forward();
    return memory_stats(kCpuDevice).live_bytes - before;
  };
  const Tensor gate = random({kRows, D}, 2);
  const Tensor up = random({kRows, D}, 3);
  const auto run = [&] { return matmul(swiglu(gate, up), w); };
  const std::int64_t plain = kept_by(run);
  const std::int64_t inside = kept_by([&] {
    const RecomputeGuard guard;
    const RecomputeGuard nested(false);
    return run();
  });
  EXPECT_EQ(plain - inside, kRows * D * 4);
  EXPECT_EQ(kept_by(run), plain);
}

// The result that an op saved is rebuilt from what it was made of, whatever became of its memory.
TEST(RecomputeGuard, AWriteToTheResultDoesNotReachTheGradient) {
  const Tensor gate = random({3, D}, 2);
  const Tensor up = random({3, D}, 3);
  const Tensor w = random({D, D}, 1).set_requires_grad(true);
  const Tensor dy = random({3, D}, 4);
  backward(matmul(swiglu(gate, up), w), dy);
  const std::vector<float> expected = floats(w.grad());
  w.set_grad(Tensor());
  Tensor h;
  Tensor y;
  {
    const RecomputeGuard guard;
    h = swiglu(gate, up);
    y = matmul(h, w);
  }
  fill_(h, 5);
  backward(y, dy);
  EXPECT_EQ(floats(w.grad()), expected);
}

TEST(RecomputeGuard, WhatItIsMadeOfMustNotChange) {
  const Tensor gate = random({3, D}, 2);
  const Tensor w = random({D, D}, 1).set_requires_grad(true);
  Tensor y;
  {
    const RecomputeGuard guard;
    y = matmul(swiglu(gate, random({3, D}, 3)), w);
  }
  fill_(gate, 0);
  try {
    backward(y, random({3, D}, 4));
    FAIL() << "the gradient of other values was computed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kArgument);
    EXPECT_NE(std::string(error.what()).find("swiglu saved a tensor that was written to since"),
              std::string::npos)
        << error.what();
  }
}

// A result that was written to before an op read it is no longer what the recipe makes.
TEST(RecomputeGuard, AResultThatWasWrittenToIsKept) {
  const Tensor w = random({D, D}, 1).set_requires_grad(true);
  const Tensor dy = random({3, D}, 4);
  const RecomputeGuard guard;
  const Tensor h = swiglu(random({3, D}, 2), random({3, D}, 3));
  fill_(h, 2);
  backward(matmul(h, w), dy);
  const std::vector<float> got = floats(w.grad());
  w.set_grad(Tensor());
  backward(matmul(Tensor::full({3, D}, 2, DType::kF32), w), dy);
  EXPECT_EQ(got, floats(w.grad()));
}

TEST(RecomputeGuard, AGraphIsDifferentiatedTwiceAlike) {
  const Tensor gate = random({3, D}, 2).set_requires_grad(true);
  const Tensor w = random({D, D}, 1).set_requires_grad(true);
  const Tensor dy = random({3, D}, 4);
  const RecomputeGuard guard;
  const Tensor y = matmul(swiglu(gate, random({3, D}, 3)), w);
  backward(y, dy, {.retain_graph = true});
  const std::vector<float> once = floats(w.grad());
  backward(y, dy);
  const std::vector<float> twice = floats(w.grad());
  for (std::size_t i = 0; i < once.size(); ++i) EXPECT_EQ(twice[i], 2 * once[i]);
}

}  // namespace

}  // namespace wick
