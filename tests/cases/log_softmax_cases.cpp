#include <cmath>

#include "cases/softmax_family_cases.hpp"
#include "harness/op_spec.hpp"
#include "reference/log_softmax_ref.hpp"
#include "wick/ops/softmax.hpp"

namespace wick::testing {

namespace {

// log Σ is off by what Σ is off by, relative to itself: that is not small beside a result near 0.
double at_least_one(double result) { return std::abs(result) + 1; }

// The gradient dy − exp(y) Σ dy takes exp of y as it was rounded: it is off by u |y| exp(y) |Σ dy|,
// where |y| exp(y) < 0.37 and Σ dy of independent numbers is about √row of them.
double of_rounded_result(double row) { return 0.37 * std::sqrt(row); }

}  // namespace

OpSpec spec_log_softmax() {
  const SoftmaxFamilyOp op = {.op = "log_softmax",
                              .run = log_softmax,
                              .reference = reference::log_softmax_ref,
                              .magnitude = at_least_one,
                              .roundings = of_rounded_result,
                              .condition_of_large = 1};
  return {.op = op.op,
          .dtypes = kFloating,
          .cases = softmax_family_cases(op),
          .errors = softmax_family_errors(op)};
}

}  // namespace wick::testing
