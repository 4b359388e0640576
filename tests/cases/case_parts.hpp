#pragma once

#include <cmath>
#include <vector>

#include "cases/layout_cases.hpp"
#include "harness/op_spec.hpp"
#include "wick/ops/view.hpp"

namespace wick::testing {

/// The layouts of odd_lays() that an op may write to: none that repeats elements.
inline std::vector<NamedLay> writable_lays() {
  std::vector<NamedLay> lays = odd_lays();
  std::erase_if(lays, [](const NamedLay& named) { return named.lay == Lay::kRepeated; });
  return lays;
}

inline const std::vector<DType> kEveryDType = {std::begin(kAllDTypes), std::end(kAllDTypes)};

/// Numbers that each dtype holds in its own way (bool as true): 0 for one in four but the first,
/// else of [1, 200).
inline Values for_any_dtype() {
  return [](Rng& rng, std::int64_t i, std::int64_t) {
    const double value = std::uniform_real_distribution<double>(1, 200)(rng);
    return i > 0 && rng() % 4 == 0 ? 0 : value;
  };
}

/// A fact about a result, made a result itself so that it can be compared with flag_ref().
inline Tensor flag(bool holds) { return Tensor::full({}, holds ? 1 : 0, DType::kBool); }
inline Array flag_ref(bool holds = true) { return Array({}, {holds ? 1.0 : 0.0}); }

/// The tolerance of a result that is rounded once, while its gradient is rounded `roundings` times
/// before the last: where it adds up. With |r| as the magnitude they do not loosen the result
/// itself.
inline Tolerance with_rounded_gradient(const OpCase& op_case, double roundings = 1) {
  return {.condition = 0,
          .roundings = roundings,
          .magnitude = [reference = op_case.reference](std::span<const Array> in) {
            std::vector<Array> results = reference(in);
            for (Array& result : results) {
              for (double& value : result.data) value = std::isfinite(value) ? std::abs(value) : 0;
            }
            return results;
          }};
}

/// x as the result of an op. A case that uses it twice has both gradients meet there: in a leaf,
/// each pass of the harness would round them one by one.
inline Tensor not_a_leaf(const Tensor& x) { return reshape(x, x.shape()); }

/// A floating tensor that asks for its gradient.
inline Tensor tracked(const Shape& shape, DType dtype = DType::kF32) {
  return Tensor::zeros(shape, dtype).set_requires_grad(true);
}

}  // namespace wick::testing
