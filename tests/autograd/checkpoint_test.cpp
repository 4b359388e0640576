#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "wick/runtime/memory.hpp"
#include "wick/wick.hpp"

namespace wick {

namespace {

using Values = std::vector<float>;
using Bits = std::vector<std::uint32_t>;

Tensor random(const Shape& shape, std::uint64_t seed, double std = 1) {
  return random_normal(shape, DType::kF32, {.seed = seed}, 0, std);
}

Bits bits_of(const Tensor& tensor) {
  Bits bits;
  for (const float value : tensor.to_vector<float>()) {
    bits.push_back(std::bit_cast<std::uint32_t>(value));
  }
  return bits;
}

bool is_trivial(const Bits& bits) {
  return std::ranges::all_of(bits, [&](std::uint32_t value) { return value == bits.front(); });
}

// A norm, a product and an activation with parameters of their own, as in a layer of a model.
struct Layer {
  explicit Layer(std::uint64_t seed)
      : norm(random({8}, seed)), weight(random({8, 8}, seed + 1, 0.3)) {
    norm.set_requires_grad(true);
    weight.set_requires_grad(true);
  }
  Tensor operator()(const Tensor& x) const {
    return add(x, silu(matmul(rms_norm(x, norm), weight)));
  }
  Segment segment() const {
    return [layer = *this](const std::vector<Tensor>& inputs) {
      return std::vector{layer(inputs[0])};
    };
  }

  Tensor norm, weight;
};

// The loss and the gradients of a model that runs its layers through `run`.
std::vector<Bits> gradients(
    bool input_requires_grad,
    const std::function<Tensor(const std::vector<Layer>&, const Tensor&)>& run) {
  std::vector<Layer> layers;
  for (std::uint64_t i = 0; i < 3; ++i) layers.emplace_back(100 * i);
  const Tensor x = random({5, 8}, 77);
  x.set_requires_grad(input_requires_grad);
  const Tensor out = run(layers, x);
  backward(out, random({5, 8}, 78));
  std::vector<Bits> results{bits_of(out)};
  if (input_requires_grad) results.push_back(bits_of(x.grad()));
  for (const Layer& layer : layers) {
    results.push_back(bits_of(layer.norm.grad()));
    results.push_back(bits_of(layer.weight.grad()));
  }
  for (const Bits& bits : results) EXPECT_FALSE(is_trivial(bits));
  return results;
}

Tensor plain(const std::vector<Layer>& layers, const Tensor& x) {
  Tensor y = x;
  for (const Layer& layer : layers) y = layer(y);
  return y;
}

Tensor each_checkpointed(const std::vector<Layer>& layers, const Tensor& x) {
  Tensor y = x;
  for (const Layer& layer : layers) y = checkpoint(layer.segment(), {y})[0];
  return y;
}

Tensor all_checkpointed(const std::vector<Layer>& layers, const Tensor& x) {
  return checkpoint(
      [layers](const std::vector<Tensor>& in) { return std::vector{plain(layers, in[0])}; },
      {x})[0];
}

Tensor nested(const std::vector<Layer>& layers, const Tensor& x) {
  const Segment inner = [layers](const std::vector<Tensor>& in) {
    return std::vector{each_checkpointed(layers, in[0])};
  };
  const Segment outer = [inner](const std::vector<Tensor>& in) { return checkpoint(inner, in); };
  return checkpoint(outer, {x})[0];
}

TEST(Checkpoint, GivesTheSameGradientsBitForBit) {
  for (const bool input_requires_grad : {true, false}) {
    const std::vector<Bits> wanted = gradients(input_requires_grad, plain);
    EXPECT_EQ(gradients(input_requires_grad, each_checkpointed), wanted);
    EXPECT_EQ(gradients(input_requires_grad, all_checkpointed), wanted);
    EXPECT_EQ(gradients(input_requires_grad, nested), wanted);
  }
}

// Runs a segment with and without a checkpoint on equal leaves; all gradients must be equal.
void expect_same_gradients(const Segment& segment, std::size_t num_inputs,
                           const std::function<Tensor(const std::vector<Tensor>&)>& loss) {
  std::vector<std::vector<Bits>> results;
  for (const bool checkpointed : {false, true}) {
    std::vector<Tensor> inputs;
    for (std::size_t i = 0; i < num_inputs; ++i) {
      inputs.push_back(random({4, 3}, 10 + i));
      inputs.back().set_requires_grad(true);
    }
    const std::vector<Tensor> outputs =
        checkpointed ? checkpoint(segment, inputs) : segment(inputs);
    const Tensor value = loss(outputs);
    backward(value);
    results.push_back({bits_of(value)});
    for (const Tensor& input : inputs) {
      ASSERT_TRUE(input.grad().defined());
      results.back().push_back(bits_of(input.grad()));
      EXPECT_FALSE(is_trivial(results.back().back()));
    }
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Checkpoint, HasSeveralOutputs) {
  const Segment segment = [](const std::vector<Tensor>& in) {
    return std::vector{mul(in[0], in[1]), silu(in[0]), scale(in[1], 3)};
  };
  expect_same_gradients(segment, 2, [](const std::vector<Tensor>& out) {
    return sum(mul(mul(out[0], out[1]), out[2]));
  });
}

TEST(Checkpoint, SomeOutputsMayBeUnused) {
  const Segment segment = [](const std::vector<Tensor>& in) {
    return std::vector{silu(in[0]), mul(in[0], in[0]), scale(in[0], 2)};
  };
  expect_same_gradients(segment, 1,
                        [](const std::vector<Tensor>& out) { return sum(mul(out[1], out[1])); });
}

TEST(Checkpoint, AnOutputMayBeAnInput) {
  const Segment segment = [](const std::vector<Tensor>& in) {
    return std::vector{in[0], mul(in[0], in[1])};
  };
  expect_same_gradients(segment, 2,
                        [](const std::vector<Tensor>& out) { return sum(mul(out[0], out[1])); });
  const Tensor x = random({2}, 5).set_requires_grad(true);
  const std::vector<Tensor> outputs = checkpoint(segment, {x, x});
  EXPECT_TRUE(x.is_leaf());  // recording must not change the input
  EXPECT_FALSE(outputs[0].is_leaf());
}

TEST(Checkpoint, AnOutputMayBeACapturedParameter) {
  const Tensor w = Tensor::full({3}, 2, DType::kF32).set_requires_grad(true);
  const Tensor x = Tensor::full({3}, 5, DType::kF32);
  const auto outputs = checkpoint([w](const std::vector<Tensor>&) { return std::vector{w}; }, {x});
  backward(sum(mul(outputs[0], x)));
  EXPECT_TRUE(w.is_leaf());
  EXPECT_EQ(w.grad().to_vector<float>(), (Values{5, 5, 5}));
}

TEST(Checkpoint, AnIntegerOutputRequiresNoGradient) {
  const Tensor x = random({4, 3}, 3).set_requires_grad(true);
  const Segment segment = [](const std::vector<Tensor>& in) {
    const ValuesAndIndices found = max(silu(in[0]), 1);
    return std::vector{found.values, found.indices};
  };
  const std::vector<Tensor> outputs = checkpoint(segment, {x});
  EXPECT_TRUE(outputs[0].requires_grad());
  EXPECT_FALSE(outputs[1].requires_grad());
  backward(sum(outputs[0]));
  EXPECT_EQ(x.grad().numel(), 12);
}

TEST(Checkpoint, DropoutDrawsTheSameMaskAgain) {
  const RandomKey key{.seed = 42, .offset = 7};
  const Segment segment = [key](const std::vector<Tensor>& in) {
    return std::vector{mul(dropout(silu(in[0]), 0.5, key), in[0])};
  };
  expect_same_gradients(segment, 1, [](const std::vector<Tensor>& out) { return sum(out[0]); });
}

TEST(Checkpoint, RunsTheSegmentOnceForwardAndOnceBackward) {
  int calls = 0;
  const Segment segment = [&](const std::vector<Tensor>& in) {
    ++calls;
    return std::vector{mul(in[0], in[0])};
  };
  const Tensor x = random({3}, 1).set_requires_grad(true);
  const Tensor y = checkpoint(segment, {x})[0];
  EXPECT_EQ(calls, 1);
  backward(sum(y));
  EXPECT_EQ(calls, 2);
  checkpoint(segment, {x.detach()});
  EXPECT_EQ(calls, 3);
}

TEST(Checkpoint, UnderNoGradRecordsNothing) {
  const Layer layer(1);
  const Tensor x = random({5, 8}, 2).set_requires_grad(true);
  const Bits wanted = bits_of(layer(x));
  const NoGradGuard off;
  const std::vector<Tensor> outputs = checkpoint(layer.segment(), {x});
  EXPECT_FALSE(outputs[0].requires_grad());
  EXPECT_EQ(bits_of(outputs[0]), wanted);
}

TEST(Checkpoint, OfNothingThatNeedsAGradientRecordsNothing) {
  const Segment segment = [](const std::vector<Tensor>& in) { return std::vector{silu(in[0])}; };
  EXPECT_FALSE(checkpoint(segment, {random({3}, 1)})[0].requires_grad());
  EXPECT_TRUE(checkpoint(segment, {random({3}, 1).set_requires_grad(true)})[0].requires_grad());
}

TEST(Checkpoint, LeavesTheGradModeAsItWasWhenTheSegmentThrows) {
  const Tensor x = random({3}, 1).set_requires_grad(true);
  const Segment segment = [](const std::vector<Tensor>& in) {
    return std::vector{matmul(in[0], in[0])};
  };
  EXPECT_THROW(checkpoint(segment, {x}), Error);
  EXPECT_TRUE(grad_enabled());
  EXPECT_TRUE(silu(x).requires_grad());
}

TEST(Checkpoint, ItsGraphIsUsedOnceUnlessRetained) {
  const Layer layer(1);
  const Tensor x = random({5, 8}, 2).set_requires_grad(true);
  const Tensor loss = sum(checkpoint(layer.segment(), {x})[0]);
  backward(loss, {.retain_graph = true});
  const Values once = layer.weight.grad().to_vector<float>();
  backward(loss);
  const Values twice = layer.weight.grad().to_vector<float>();
  for (std::size_t i = 0; i < once.size(); ++i) EXPECT_EQ(twice[i], 2 * once[i]);
  EXPECT_THROW(backward(loss), Error);
}

TEST(Checkpoint, RefusesAnInputThatWasWrittenTo) {
  const Layer layer(1);
  const Tensor x = random({5, 8}, 2);
  const Tensor loss = sum(checkpoint(layer.segment(), {x})[0]);
  fill_(x, 1);
  try {
    backward(loss);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kArgument);
    EXPECT_NE(std::string(error.what()).find("checkpoint saved a tensor"), std::string::npos);
  }
}

// Refused in the forward pass, also where the tensor was made inside the segment.
TEST(Checkpoint, AnOpWithoutAGradientIsNotLostInSilence) {
  const Tensor x = random({3}, 2).set_requires_grad(true);
  const Segment segment = [](const std::vector<Tensor>& in) {
    const Tensor made = scale(in[0], 2);
    return std::vector{scale(in[0], static_cast<double>(argmax(made, 0).item<std::int64_t>()))};
  };
  try {
    checkpoint(segment, {x});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_EQ(error.op(), "argmax");
  }
}

// Bytes above the start at the highest point of a forward and backward pass through 16 layers.
std::int64_t peak_of_chain(bool checkpointed) {
  std::vector<Layer> layers;
  for (std::uint64_t i = 0; i < 16; ++i) layers.emplace_back(10 * i);
  const Tensor x = random({1024, 8}, 5);
  const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
  reset_peak_memory(kCpuDevice);
  const Tensor y = checkpointed ? each_checkpointed(layers, x) : plain(layers, x);
  backward(y, random({1024, 8}, 6));
  return memory_stats(kCpuDevice).peak_bytes - before;
}

TEST(Checkpoint, LowersThePeakOfALongChain) {
  const std::int64_t with = peak_of_chain(true);
  const std::int64_t without = peak_of_chain(false);
  // A layer keeps about four tensors of 32 KiB; with checkpoints only its input.
  EXPECT_GT(without, 16 * 3 * 32 * 1024);
  EXPECT_LT(2 * with, without) << with << " and " << without;
}

TEST(Checkpoint, FreesEverythingAtTheEnd) {
  const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
  gradients(true, nested);
  EXPECT_EQ(memory_stats(kCpuDevice).live_bytes, before);
}

}  // namespace

}  // namespace wick
