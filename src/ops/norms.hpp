#pragma once

#include "ops/checks.hpp"
#include "wick/ops/norm.hpp"

namespace wick::detail {

/// What rms_norm() and layer_norm() ask of x, weight and eps alike.
void check_norm(const Check& check, const Tensor& x, const Tensor& weight,
                const NormOptions& options);

}  // namespace wick::detail
