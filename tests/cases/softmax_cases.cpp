#include "wick/ops/softmax.hpp"

#include "cases/softmax_family_cases.hpp"
#include "harness/op_spec.hpp"
#include "reference/softmax_ref.hpp"

namespace wick::testing {

namespace {

double itself(double result) { return result; }

double none(double) { return 0; }

// exp makes a relative error of what x − max, here some hundreds, is off by.
constexpr double kConditionOfLarge = 32;

}  // namespace

OpSpec spec_softmax() {
  const SoftmaxFamilyOp op = {.op = "softmax",
                              .run = softmax,
                              .reference = reference::softmax_ref,
                              .magnitude = itself,
                              .roundings = none,
                              .condition_of_large = kConditionOfLarge};
  return {.op = op.op,
          .dtypes = kFloating,
          .cases = softmax_family_cases(op),
          .errors = softmax_family_errors(op)};
}

}  // namespace wick::testing
