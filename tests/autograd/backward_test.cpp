#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "autograd/tape.hpp"
#include "wick/runtime/memory.hpp"
#include "wick/wick.hpp"

namespace wick {

namespace {

using Values = std::vector<float>;

Tensor constant(const Values& values, const Shape& shape) {
  return Tensor::from_values(values, shape);
}
Tensor constant(const Values& values) { return constant(values, {std::ssize(values)}); }
Tensor leaf(const Values& values, const Shape& shape) {
  return constant(values, shape).set_requires_grad(true);
}
Tensor leaf(const Values& values) { return leaf(values, {std::ssize(values)}); }
Values grad_of(const Tensor& tensor) { return tensor.grad().to_vector<float>(); }

template <class Call>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
  }
}

TEST(Backward, ChainsHaveTheDerivativesOfTheBook) {
  const Tensor x = leaf({1, -2, 3});
  backward(sum(scale(mul(x, x), 3)));  // 3x²
  EXPECT_EQ(grad_of(x), (Values{6, -12, 18}));

  const Tensor a = leaf({1, 2, 3, 4}, {2, 2});
  const Tensor b = leaf({5, 6, 7, 8}, {2, 2});
  backward(sum(matmul(a, b)));
  EXPECT_EQ(grad_of(a), (Values{11, 15, 11, 15}));
  EXPECT_EQ(grad_of(b), (Values{4, 4, 6, 6}));

  const Tensor s = leaf({0.5F});
  backward(silu(silu(s)));
  const auto silu_of = [](double v) { return v / (1 + std::exp(-v)); };
  const auto slope = [](double v) {
    const double sigma = 1 / (1 + std::exp(-v));
    return sigma * (1 + v * (1 - sigma));
  };
  EXPECT_NEAR(grad_of(s)[0], slope(silu_of(0.5)) * slope(0.5), 1e-6);
}

TEST(Backward, TakesACotangentForAnyOutput) {
  const Tensor x = leaf({1, 2, 3});
  backward(mul(x, x), constant({1, 10, -0.5F}));
  EXPECT_EQ(grad_of(x), (Values{2, 40, -3}));
}

TEST(Backward, AddsUpOverPasses) {
  const Tensor x = leaf({1, 2});
  for (int pass = 1; pass <= 3; ++pass) {
    backward(sum(scale(x, 2)));
    EXPECT_EQ(grad_of(x), (Values(2, 2.0F * static_cast<float>(pass))));
  }
  x.set_grad(Tensor());
  backward(sum(scale(x, 5)));
  EXPECT_EQ(grad_of(x), (Values{5, 5}));
}

TEST(Backward, AddsUpOverTheBranchesOfADiamond) {
  const Tensor x = leaf({2});
  const Tensor shared = mul(x, x);                                // x²
  const Tensor left = scale(shared, 3);                           // 3x²
  const Tensor right = mul(shared, x);                            // x³
  const Tensor bottom = add(mul(left, right), sub(left, right));  // 3x⁵ + 3x² − x³
  backward(bottom);
  EXPECT_EQ(grad_of(x), (Values{15 * 16 + 6 * 2 - 3 * 4}));
}

TEST(Backward, ATensorMayBeUsedTwiceInOneOp) {
  const Tensor x = leaf({3, -1});
  backward(sum(add(x, x)));
  EXPECT_EQ(grad_of(x), (Values{2, 2}));
  const Tensor y = leaf({3, -1});
  backward(sum(mul(scale(y, 2), scale(y, 2))));
  EXPECT_EQ(grad_of(y), (Values{24, -8}));
  const Tensor z = leaf({3, -1});
  backward(sum(concatenate({z, z, z}, 0)));
  EXPECT_EQ(grad_of(z), (Values{3, 3}));
}

TEST(Backward, GivesNothingToWhatDoesNotAskForIt) {
  const Tensor x = leaf({1, 2});
  const Tensor frozen = constant({3, 4});
  const Tensor middle = mul(x, frozen);
  EXPECT_TRUE(middle.requires_grad());
  EXPECT_FALSE(middle.is_leaf());
  backward(sum(middle));
  EXPECT_EQ(grad_of(x), (Values{3, 4}));
  EXPECT_FALSE(frozen.grad().defined());
  EXPECT_FALSE(middle.grad().defined());
  EXPECT_FALSE(mul(frozen, frozen).requires_grad());
}

TEST(Backward, DetachAndNoGradCutTheGraph) {
  const Tensor x = leaf({2, 3});
  backward(sum(mul(x, x.detach())));
  EXPECT_EQ(grad_of(x), (Values{2, 3}));
  {
    const NoGradGuard off;
    EXPECT_FALSE(grad_enabled());
    EXPECT_FALSE(mul(x, x).requires_grad());
    {
      const NoGradGuard nested;
    }
    EXPECT_FALSE(grad_enabled());
    bool other_thread = false;
    std::thread([&] { other_thread = grad_enabled() && mul(x, x).requires_grad(); }).join();
    EXPECT_TRUE(other_thread);
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_TRUE(mul(x, x).requires_grad());
}

TEST(Backward, ViewsPassTheirGradientsThrough) {
  const Tensor x = leaf({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  // rows 1 and 2 of the transpose of [3,4]: columns 1 and 2
  const Tensor view = slice(transpose(reshape(x, {3, 4})), 0, 1, 3);
  EXPECT_TRUE(view.shares_storage_with(x));
  backward(view, constant({1, 2, 3, 4, 5, 6}, {2, 3}));
  EXPECT_EQ(grad_of(x), (Values{0, 1, 4, 0, 0, 2, 5, 0, 0, 3, 6, 0}));

  const Tensor y = leaf({1, 2});
  const Tensor repeated = permute(broadcast_to(y, {3, 2}), {1, 0});
  backward(repeated, constant({1, 2, 3, 4, 5, 6}, {2, 3}));
  EXPECT_EQ(grad_of(y), (Values{6, 15}));
}

TEST(Backward, OpsWithTwoOutputsDifferentiateTheirValues) {
  const Tensor x = leaf({3, 9, 4, 8, 1, 7}, {2, 3});
  const ValuesAndIndices largest = max(x, 1);
  EXPECT_FALSE(largest.indices.requires_grad());
  backward(largest.values, constant({5, 6}));
  EXPECT_EQ(grad_of(x), (Values{0, 5, 0, 6, 0, 0}));

  const Tensor y = leaf({3, 9, 4, 8, 1, 7}, {2, 3});
  const ValuesAndIndices two = top_k(y, 2);
  EXPECT_FALSE(two.indices.requires_grad());
  backward(two.values, constant({1, 2, 3, 4}, {2, 2}));
  EXPECT_EQ(grad_of(y), (Values{0, 1, 2, 3, 0, 4}));
}

TEST(Backward, OfALeafIsTheCotangent) {
  const Tensor x = leaf({1, 2});
  backward(x, constant({7, 8}));
  EXPECT_EQ(grad_of(x), (Values{7, 8}));
}

TEST(BackwardMemory, LeafGradientsAreNobodyElsesMemory) {
  const Tensor x = leaf({1, 2});
  const Tensor y = leaf({3, 4});
  const Tensor cotangent = constant({10, 20});
  backward(add(x, y), cotangent);  // both gradients are the cotangent
  backward(reshape(x, {1, 2}), reshape(cotangent, {1, 2}));
  backward(x, cotangent);
  EXPECT_FALSE(x.grad().shares_storage_with(y.grad()));
  EXPECT_FALSE(x.grad().shares_storage_with(cotangent));
  EXPECT_FALSE(y.grad().shares_storage_with(cotangent));
  EXPECT_EQ(grad_of(x), (Values{30, 60}));
  EXPECT_EQ(grad_of(y), (Values{10, 20}));
  EXPECT_EQ(cotangent.to_vector<float>(), (Values{10, 20}));
}

TEST(BackwardMemory, AGradientSetByHandIsNotWrittenTo) {
  const Tensor mine = constant({1, 2});
  const Tensor x = leaf({0, 0});
  x.set_grad(mine);
  backward(sum(scale(x, 5)));
  EXPECT_EQ(grad_of(x), (Values{6, 7}));
  EXPECT_EQ(mine.to_vector<float>(), (Values{1, 2}));
}

TEST(BackwardMemory, AGradientSetByHandMayHaveAnyLayout) {
  const Tensor x = leaf({0, 0, 0, 0}, {2, 2});
  x.set_grad(transpose(constant({1, 2, 3, 4}, {2, 2})));
  backward(x, constant({10, 20, 30, 40}, {2, 2}));
  EXPECT_EQ(grad_of(x), (Values{11, 23, 32, 44}));
  const Tensor y = leaf({0, 0, 0, 0}, {2, 2});
  y.set_grad(broadcast_to(constant({1, 2}), {2, 2}));
  backward(y, constant({10, 20, 30, 40}, {2, 2}));
  EXPECT_EQ(grad_of(y), (Values{11, 22, 31, 42}));
}

TEST(BackwardMemory, ACotangentMayLieAtAnyAddress) {
  const auto bytes = std::make_shared<std::vector<std::byte>>(4 * sizeof(float) + 1);
  const float values[] = {1, 2, 3, 4};
  std::memcpy(bytes->data() + 1, values, sizeof(values));
  const Tensor cotangent =
      Tensor::from_external(std::span(*bytes).subspan(1), DType::kF32, {2, 2}, bytes);
  const Tensor x = leaf({0, 0, 0, 0}, {2, 2});
  const Tensor row = leaf({0, 0});
  backward(add(add(x, x), row),
           cotangent);  // an input used twice, and a sum over what was repeated
  backward(x, cotangent);
  EXPECT_EQ(grad_of(x), (Values{3, 6, 9, 12}));
  EXPECT_EQ(grad_of(row), (Values{4, 6}));
}

TEST(BackwardMemory, SavedTensorsAreFreedAsTheyAreUsed) {
  constexpr int kLayers = 10;
  constexpr std::int64_t kBytes = 64 * 1024;
  for (const bool retain : {false, true}) {
    const Tensor x = Tensor::full({kBytes / 4}, 0.5, DType::kF32).set_requires_grad(true);
    const std::int64_t before = memory_stats(kCpuDevice).live_bytes;
    Tensor y = x;
    for (int i = 0; i < kLayers; ++i) y = silu(y);
    const std::int64_t forward = memory_stats(kCpuDevice).live_bytes;
    EXPECT_GE(forward - before, kLayers * kBytes);
    std::vector<std::int64_t> live;
    detail::set_gradient_hook([&](std::string_view, std::size_t, const Tensor& gradient) {
      live.push_back(memory_stats(kCpuDevice).live_bytes);
      return gradient;
    });
    backward(y, Tensor::full({kBytes / 4}, 1, DType::kF32), {.retain_graph = retain});
    detail::set_gradient_hook({});
    ASSERT_EQ(live.size(), std::size_t{kLayers});
    // Each step frees what it used; the first layer used x, which stays.
    for (std::size_t i = 1; i + 1 < live.size(); ++i) {
      EXPECT_EQ(live[i - 1] - live[i], retain ? 0 : kBytes) << "step " << i;
    }
  }
}

TEST(BackwardGraph, IsUsedOnceUnlessRetained) {
  const Tensor x = leaf({3});
  const Tensor y = mul(x, x);
  backward(y, {.retain_graph = true});
  backward(y, {.retain_graph = true});
  backward(y);
  EXPECT_EQ(grad_of(x), (Values{18}));
  expect_error(ErrorKind::kArgument, {"backward", "mul", "freed", "retain_graph"},
               [&] { backward(y); });
  expect_error(ErrorKind::kArgument, {"mul", "freed"}, [&] { backward(scale(y, 2)); });
  EXPECT_EQ(grad_of(x), (Values{18}));
}

TEST(BackwardGraph, RefusesASavedTensorThatWasWrittenTo) {
  const Tensor w = leaf({1, 2});
  const std::vector<std::string> message{"backward: mul saved a tensor that was written to since",
                                         "version 0 then, 1 now", "saved [2] f32@cpu"};
  const std::vector<std::function<void(const Tensor&)>> writes{
      [](const Tensor& saved) { fill_(saved, 7); },
      [](const Tensor& saved) { copy_(saved, constant({5, 6})); },
      [](const Tensor& saved) { fill_(slice(saved, 0, 0, 1), 7); },  // a view counts too
      [](const Tensor& saved) {
        saved.set_grad(constant({1, 1}));
        adamw_(std::vector<AdamwParameter>{{.parameter = saved,
                                            .m = Tensor::zeros({2}, DType::kF32),
                                            .v = Tensor::zeros({2}, DType::kF32)}},
               1);
      }};
  for (const auto& write : writes) {
    const Tensor saved = constant({3, 4});
    const Tensor loss = sum(mul(w, saved));
    write(saved);
    expect_error(ErrorKind::kArgument, message, [&] { backward(loss); });
  }
  EXPECT_FALSE(w.grad().defined());
  // A trained parameter, after its step.
  const Tensor loss = sum(mul(w, w));
  writes.back()(w);
  expect_error(ErrorKind::kArgument, message, [&] { backward(loss); });
  // Nothing is wrong with writing to what no op saved.
  const Tensor unsaved = constant({3, 4});
  const Tensor fine = sum(add(w, unsaved));
  fill_(unsaved, 7);
  EXPECT_NO_THROW(backward(fine));
}

TEST(BackwardGraph, ALeafIsOverwrittenOnlyWhereNothingIsRecorded) {
  const Tensor x = leaf({1, 2});
  expect_error(ErrorKind::kArgument, {"fill_", "NoGradGuard"}, [&] { fill_(x, 3); });
  const NoGradGuard off;
  fill_(x, 3);
  EXPECT_EQ(x.to_vector<float>(), (Values{3, 3}));
}

TEST(BackwardErrors, NameTheRule) {
  const Tensor x = leaf({1, 2});
  expect_error(ErrorKind::kShape, {"backward", "exactly one element", "loss [2]", "cotangent"},
               [&] { backward(scale(x, 2)); });
  expect_error(ErrorKind::kArgument, {"backward", "does not depend", "output []"},
               [] { backward(sum(constant({1, 2}))); });
  expect_error(ErrorKind::kArgument, {"backward", "undefined"}, [] { backward(Tensor()); });
  const Tensor y = scale(x, 2);
  expect_error(ErrorKind::kArgument, {"backward", "undefined"}, [&] { backward(y, Tensor()); });
  expect_error(ErrorKind::kShape, {"cotangent must have the shape", "output [2]", "cotangent [1]"},
               [&] { backward(y, constant({1})); });
  expect_error(ErrorKind::kDtype, {"cotangent must have the dtype", "bf16@cpu"},
               [&] { backward(y, Tensor::zeros({2}, DType::kBF16)); });
  expect_error(ErrorKind::kDevice, {"cotangent must be on the device", "f32@null"},
               [&] { backward(y, Tensor::zeros({2}, DType::kF32, kNullDevice)); });
  EXPECT_FALSE(x.grad().defined());
  EXPECT_NO_THROW(backward(y, constant({1, 1})));  // the refused calls used nothing up
  expect_error(ErrorKind::kArgument, {"set_requires_grad", "detach()"},
               [&] { y.set_requires_grad(false); });
}

TEST(BackwardErrors, AnOpWithoutAGradientRefusesInTheForwardPass) {
  const Tensor x = leaf({1, 3, 2});
  expect_error(ErrorKind::kUnsupported, {"argmax", "no gradient", "input [3] f32@cpu", "detach()"},
               [&] { argmax(x, 0); });
  EXPECT_EQ(argmax(x.detach(), 0).item<std::int64_t>(), 1);
  const NoGradGuard off;
  EXPECT_EQ(argmax(x, 0).item<std::int64_t>(), 1);
}

TEST(GradientHook, SeesEveryOpAndMayReplaceGradients) {
  const Tensor x = leaf({1, 2});
  const Tensor w = leaf({3, 4});
  const Tensor loss = sum(scale(mul(x, add(w, constant({1, 1}))), 2));
  std::vector<std::pair<std::string, std::size_t>> seen;
  detail::set_gradient_hook([&](std::string_view op, std::size_t input, const Tensor& gradient) {
    seen.emplace_back(op, input);
    return op == "scale" ? scale(gradient, 10) : gradient;
  });
  backward(loss);
  detail::set_gradient_hook({});
  const std::vector<std::pair<std::string, std::size_t>> wanted{
      {"sum", 0}, {"scale", 0}, {"mul", 0}, {"mul", 1}, {"add", 0}};
  EXPECT_EQ(seen, wanted);
  EXPECT_EQ(grad_of(x), (Values{80, 100}));
  EXPECT_EQ(grad_of(w), (Values{20, 40}));
}

// A stack overflow would take the other tests along, so it would happen in a process of its own.
void expect_survived(const std::function<void()>& work) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT((work(), std::_Exit(0)), ::testing::ExitedWithCode(0), "");
}

Tensor chain(const Tensor& x, const std::function<Tensor(const Tensor&)>& link) {
  Tensor y = x;
  for (int i = 0; i < 200000; ++i) y = link(y);
  return y;
}

TEST(DeepGraph, IsDestroyedWithoutRecursion) {
  expect_survived([] { chain(leaf({1}), [](const Tensor& y) { return scale(y, 1); }); });
}

TEST(DeepGraph, IsDifferentiatedWithoutRecursion) {
  expect_survived([] {
    const Tensor x = leaf({1});
    backward(chain(x, [](const Tensor& y) { return scale(y, 1); }));
    if (grad_of(x) != Values{1}) std::_Exit(1);
  });
}

TEST(DeepGraph, OfResidualBlocksIsDestroyedWithoutRecursion) {
  expect_survived([] { chain(leaf({1}), [](const Tensor& y) { return add(y, scale(y, 0)); }); });
}

TEST(DeepGraph, OfOpsThatUseAnInputTwiceIsDestroyedWithoutRecursion) {
  expect_survived([] { chain(leaf({1}), [](const Tensor& y) { return mul(y, y); }); });
}

}  // namespace

}  // namespace wick
