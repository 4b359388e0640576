#include "cases/activation_cases.hpp"
#include "reference/gelu_ref.hpp"
#include "reference/matmul_ref.hpp"
#include "wick/ops/activation.hpp"

namespace wick::testing {

namespace {

Activation gelu_form(const std::string& prefix, GeluForm form) {
  const bool is_tanh = form == GeluForm::kTanh;
  return {.prefix = prefix,
          .run = [form](const Tensor& x) { return gelu(x, form); },
          .reference = [is_tanh](const Array& x) { return reference::gelu_ref(x, is_tanh); }};
}

// Here ½ (1 + erf) is the small rest of numbers near 1: off by u · |x|, however small the result.
OpCase negative_tail(const Activation& f) {
  OpCase result = activation_case(f, "negative_tail", {97}, uniform(-5, -3));
  result.tolerance.magnitude = [](std::span<const Array> in) {
    return std::vector{reference::absolute(in[0])};
  };
  result.gradient_condition = 100;  // |x φ(x)| is at most 0.013
  return result;
}

std::vector<OpCase> cases() {
  std::vector<OpCase> list;
  for (const auto& [prefix, form] :
       {std::pair{"erf_", GeluForm::kErf}, std::pair{"tanh_", GeluForm::kTanh}}) {
    const Activation f = gelu_form(prefix, form);
    for (OpCase& op_case : activation_cases(f)) list.push_back(std::move(op_case));
    list.push_back(negative_tail(f));
  }
  return list;
}

}  // namespace

OpSpec spec_gelu() {
  return {.op = "gelu",
          .dtypes = kFloating,
          .cases = cases(),
          .errors = activation_errors("gelu", [](const Tensor& x) { return gelu(x); })};
}

}  // namespace wick::testing
