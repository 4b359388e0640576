// A training step on the device that computes nothing: what is launched, in which order, on how
// many bytes, and that nobody waits.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/null/null_backend.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/wick.hpp"

namespace wick {

namespace {

// N rows of width D go through a gated unit of width F to V classes; adapters have rank R.
constexpr std::int64_t N = 6, D = 8, F = 12, V = 10, R = 2;
constexpr std::int64_t kFloat = 4, kIndex = 8;

Tensor frozen(const Shape& shape) { return Tensor::zeros(shape, DType::kF32, kNullDevice); }
Tensor trainable(const Shape& shape) { return frozen(shape).set_requires_grad(true); }

struct Adapted {
  Adapted(std::int64_t outputs, std::int64_t inputs)
      : weight(frozen({outputs, inputs})), a(trainable({R, inputs})), b(trainable({outputs, R})) {}
  Tensor operator()(const Tensor& x) const {
    return lora_linear(x, weight, Tensor(), a, b, {.scale = 2});
  }

  Tensor weight, a, b;
};

struct Model {
  Tensor norm = trainable({D});
  Adapted gate{F, D}, up{F, D}, down{V, F};

  Tensor loss(const Tensor& x, const Tensor& targets) const {
    const Tensor h = rms_norm(x, norm);
    return cross_entropy(down(swiglu(gate(h), up(h))), targets);
  }
  std::vector<Tensor> parameters() const {
    return {norm, gate.a, gate.b, up.a, up.b, down.a, down.b};
  }
};

class NullTraining : public ::testing::Test {
 protected:
  NullTraining() {
    for (const Tensor& parameter : model_.parameters()) {
      state_.push_back(
          {.parameter = parameter, .m = frozen(parameter.shape()), .v = frozen(parameter.shape())});
    }
    stream().take_launches();
  }

  null::NullStream& stream() { return null::null_stream(*stream_); }

  Tensor step(std::int64_t number, const AdamwOptions& options = {}) {
    const Tensor loss = model_.loss(x_, targets_);
    backward(loss);
    std::vector<Tensor> gradients;
    for (const Tensor& parameter : model_.parameters()) gradients.push_back(parameter.grad());
    clip_grad_norm_(gradients, 1.0);
    adamw_(state_, number, options);
    for (const Tensor& parameter : model_.parameters()) parameter.set_grad(Tensor());
    return loss;
  }

  std::vector<std::string> launched() {
    std::vector<std::string> names;
    for (const null::Launch& launch : stream().take_launches()) names.push_back(launch.kernel);
    return names;
  }

  std::shared_ptr<Stream> stream_ = make_stream(kNullDevice);
  StreamGuard guard_{stream_};
  Model model_;
  Tensor x_ = frozen({N, D});
  Tensor targets_ = Tensor::zeros({N}, DType::kI64, kNullDevice);
  std::vector<AdamwParameter> state_;
};

TEST_F(NullTraining, AStepLaunchesTheseKernelsInThisOrder) {
  step(1);
  const std::vector<std::string> wanted{
      // forward
      "rms_norm", "lora_linear", "lora_linear", "swiglu", "lora_linear", "cross_entropy",
      "mul",  // the mean of the sum
      // backward, from a gradient of 1
      "fill", "cross_entropy_backward", "lora_linear_backward", "swiglu_backward",
      "lora_linear_backward", "lora_linear_backward",
      "add",  // h feeds two products
      "rms_norm_backward",
      // update
      "global_norm", "clip_by_norm", "adamw"};
  EXPECT_EQ(launched(), wanted);
}

// The bytes of the n-th launch of a kernel.
std::int64_t bytes_of(const std::vector<null::Launch>& launches, std::string_view kernel,
                      int which = 0) {
  for (const null::Launch& launch : launches) {
    if (launch.kernel == kernel && which-- == 0) return launch.bytes;
  }
  ADD_FAILURE() << "no " << kernel;
  return 0;
}

TEST_F(NullTraining, TheLaunchesTouchTheseBytes) {
  step(1);
  const std::vector<null::Launch> all = stream().take_launches();
  EXPECT_EQ(bytes_of(all, "rms_norm"),
            kFloat * (N * D + D + N * D + N));  // x, weight, out, inv_rms
  const auto lora = [](std::int64_t outputs, std::int64_t inputs) {
    // x, W, A, B, out and x Aᵀ
    return kFloat *
           (N * inputs + outputs * inputs + R * inputs + outputs * R + N * outputs + N * R);
  };
  EXPECT_EQ(bytes_of(all, "lora_linear", 0), lora(F, D));
  EXPECT_EQ(bytes_of(all, "lora_linear", 1), lora(F, D));
  EXPECT_EQ(bytes_of(all, "lora_linear", 2), lora(V, F));
  EXPECT_EQ(bytes_of(all, "swiglu"), kFloat * 3 * N * F);
  // logits, targets, log-sum-exp, and three numbers
  EXPECT_EQ(bytes_of(all, "cross_entropy"), kFloat * (N * V + N + 3) + kIndex * N);
  // dloss and factor, logits, targets, log-sum-exp, dlogits
  EXPECT_EQ(bytes_of(all, "cross_entropy_backward"), kFloat * (2 + 2 * N * V + N) + kIndex * N);
  const auto lora_backward = [](std::int64_t outputs, std::int64_t inputs) {
    // dy, x, W, A, B, x Aᵀ; dx, dA, dB: nothing of the size of W beside W itself
    return kFloat * (N * outputs + 2 * N * inputs + outputs * inputs + 2 * R * inputs +
                     2 * outputs * R + N * R);
  };
  EXPECT_EQ(bytes_of(all, "lora_linear_backward", 0), lora_backward(V, F));
  EXPECT_EQ(bytes_of(all, "lora_linear_backward", 1), lora_backward(F, D));
  EXPECT_EQ(bytes_of(all, "swiglu_backward"), kFloat * 5 * N * F);
  EXPECT_EQ(bytes_of(all, "add"), kFloat * 3 * N * D);
  // dy, x, weight, inv_rms and dweight; x itself needs no gradient
  EXPECT_EQ(bytes_of(all, "rms_norm_backward"), kFloat * (2 * N * D + D + N + D));
  const std::int64_t trained = D + 2 * (R * D + F * R) + R * F + V * R;
  EXPECT_EQ(bytes_of(all, "global_norm"), kFloat * (trained + 1));
  EXPECT_EQ(bytes_of(all, "clip_by_norm"), kFloat * (trained + 1));
  EXPECT_EQ(bytes_of(all, "adamw"), kFloat * 4 * trained);
}

TEST_F(NullTraining, NobodyWaitsBeforeAValueIsRead) {
  Tensor loss;
  for (int number = 1; number <= 10; ++number) loss = step(number);
  EXPECT_EQ(stream().num_waits(), 0);
  EXPECT_EQ(loss.item<float>(), 0.0F);
  EXPECT_EQ(stream().num_waits(), 1);
  EXPECT_EQ(launched().back(), "copy_to_host");
}

TEST_F(NullTraining, MemoryDoesNotGrowOverSteps) {
  step(1);
  step(2);
  const MemoryStats before = memory_stats(kNullDevice);
  for (int number = 3; number <= 102; ++number) {
    step(number);
    ASSERT_EQ(memory_stats(kNullDevice).live_bytes, before.live_bytes) << "step " << number;
  }
  const MemoryStats after = memory_stats(kNullDevice);
  EXPECT_EQ(after.live_blocks, before.live_blocks);
  EXPECT_EQ(after.peak_bytes, before.peak_bytes);
  EXPECT_EQ(after.num_raw_allocations, before.num_raw_allocations);  // all from the cache
  EXPECT_GT(after.num_allocations, before.num_allocations);
}

TEST_F(NullTraining, EveryStepLaunchesTheSame) {
  step(1);
  const std::vector<std::string> first = launched();
  step(2);
  EXPECT_EQ(launched(), first);
}

TEST_F(NullTraining, AccumulatedGradientsAddInPlace) {
  backward(model_.loss(x_, targets_));
  const std::size_t first = launched().size();
  const std::int64_t live = memory_stats(kNullDevice).live_bytes;
  backward(model_.loss(x_, targets_));
  EXPECT_EQ(launched().size(), first + model_.parameters().size());  // one add for each
  EXPECT_EQ(memory_stats(kNullDevice).live_bytes, live);
}

TEST_F(NullTraining, AFrozenModelLaunchesNoBackwardPass) {
  const NoGradGuard off;
  const Tensor loss = model_.loss(x_, targets_);
  EXPECT_FALSE(loss.requires_grad());
  const std::vector<std::string> wanted{"rms_norm",    "lora_linear",   "lora_linear", "swiglu",
                                        "lora_linear", "cross_entropy", "mul"};
  EXPECT_EQ(launched(), wanted);
}

TEST_F(NullTraining, TheLossOfALinearLayerMakesItsGradientAtOnce) {
  const Tensor weight = frozen({V, D});
  const Tensor rows = trainable({N, D});
  stream().take_launches();
  linear_cross_entropy(rows, weight, targets_, {.reduction = LossReduction::kSum});
  const std::vector<null::Launch> all = stream().take_launches();
  std::vector<std::string> names;
  for (const null::Launch& launch : all) names.push_back(launch.kernel);
  const std::vector<std::string> with_gradient{"matmul", "cross_entropy", "matmul"};
  EXPECT_EQ(names, with_gradient);
  // logits, their gradient, targets, log-sum-exp, and three numbers
  EXPECT_EQ(bytes_of(all, "cross_entropy"), kFloat * (2 * N * V + N + 3) + kIndex * N);
  linear_cross_entropy(x_, weight, targets_, {.reduction = LossReduction::kSum});
  const std::vector<std::string> without{"matmul", "cross_entropy"};
  EXPECT_EQ(launched(), without);
}

TEST_F(NullTraining, AStepIsCapturedOnceAndReplayed) {
  const AdamwOptions from_device{.lr_tensor = Tensor::zeros({}, DType::kF32, kNullDevice),
                                 .step_tensor = Tensor::zeros({}, DType::kI64, kNullDevice)};
  step(1, from_device);
  stream().take_launches();
  step(2, from_device);
  const std::vector<std::string> wanted = launched();
  stream().begin_capture();
  step(3, from_device);
  const std::unique_ptr<Graph> graph = stream().end_capture();
  EXPECT_TRUE(launched().empty());
  EXPECT_EQ(graph->num_launches(), std::ssize(wanted));
  stream().replay(*graph);
  EXPECT_EQ(launched(), wanted);
  EXPECT_EQ(stream().num_waits(), 0);
}

TEST_F(NullTraining, CpuTensorsAreRefused) {
  try {
    model_.loss(Tensor::zeros({N, D}, DType::kF32), targets_);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kDevice);
    EXPECT_NE(std::string(error.what()).find("x [6,8] f32@cpu"), std::string::npos) << error.what();
  }
}

}  // namespace

}  // namespace wick
