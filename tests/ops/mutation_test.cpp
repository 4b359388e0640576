// Checks the gradient tests themselves: each gradient of each op is scaled by a constant, one at a time, and
// at least one gradient case of that op must then fail.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <map>
#include <set>

#include "autograd/tape.hpp"
#include "harness/check_op.hpp"
#include "wick/autograd/autograd.hpp"
#include "wick/ops/arithmetic.hpp"

namespace wick::testing {

namespace {

constexpr double kFactor = 1.25;

class Mutation : public ::testing::Test {
 protected:
  void TearDown() override { detail::set_gradient_hook({}); }
};

using KnownResults = std::map<const OpCase*, ReferenceResults>;

// Which inputs of which recorded ops a spec's cases differentiate.
std::set<std::size_t> inputs_seen(const OpSpec& spec, KnownResults& known) {
  std::set<std::size_t> seen;
  detail::set_gradient_hook([&](std::string_view op, std::size_t input, const Tensor& gradient) {
    if (op == spec.op && gradient.numel() > 0) seen.insert(input);
    return gradient;
  });
  for (const OpCase& op_case : spec.cases) {
    if (op_case.benchmark_only || !op_case.gradient || !takes(op_case, DType::kF32)) continue;
    EXPECT_TRUE(check_gradient(spec, op_case, DType::kF32, kCpuDevice, known[&op_case]).empty());
  }
  return seen;
}

bool is_noticed(const OpSpec& spec, std::size_t mutated, KnownResults& known) {
  detail::set_gradient_hook([&](std::string_view op, std::size_t input, const Tensor& gradient) {
    return op == spec.op && input == mutated ? scale(gradient, kFactor) : gradient;
  });
  for (const OpCase& op_case : spec.cases) {
    if (op_case.benchmark_only || !op_case.gradient || !takes(op_case, DType::kF32)) continue;
    if (!check_gradient(spec, op_case, DType::kF32, kCpuDevice, known[&op_case]).empty())
      return true;
  }
  return false;
}

TEST_F(Mutation, EveryScaledGradientFailsATest) {
  std::map<std::string, int> inputs_by_op;
  for (const OpSpec& spec : all_specs()) {
    if (gradient_kind(spec.op) != "differentiable") continue;
    KnownResults known;
    const std::set<std::size_t> seen = inputs_seen(spec, known);
    EXPECT_FALSE(seen.empty()) << spec.op << " puts nothing of its name on the tape";
    for (const std::size_t input : seen) {
      EXPECT_TRUE(is_noticed(spec, input, known))
          << "the gradient of input " << input << " of " << spec.op << ", times " << kFactor
          << ", fails no case";
    }
    inputs_by_op[spec.op] = static_cast<int>(seen.size());
  }
  EXPECT_GT(inputs_by_op.size(), 20U);
}

}  // namespace

}  // namespace wick::testing
