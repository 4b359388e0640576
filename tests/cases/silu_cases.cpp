#include "cases/activation_cases.hpp"
#include "reference/silu_ref.hpp"
#include "wick/ops/activation.hpp"

namespace wick::testing {

OpSpec spec_silu() {
  const Activation f = {.prefix = "",
                        .run = [](const Tensor& x) { return silu(x); },
                        .reference = [](const Array& x) { return reference::silu_ref(x); }};
  std::vector<OpCase> cases = activation_cases(f);
  cases.push_back(activation_case(f, "negative_tail", {97}, uniform(-20, -5)));
  return {.op = "silu",
          .dtypes = kFloating,
          .cases = std::move(cases),
          .errors = activation_errors("silu", f.run)};
}

}  // namespace wick::testing
