#pragma once

#include <string_view>

#include "runtime/args/elementwise_args.hpp"
#include "runtime/kernel_table.hpp"
#include "wick/tensor/tensor.hpp"

namespace wick::detail {

/// The forward pass that add(), sub() and mul() share: checks, broadcasts and launches.
Tensor broadcast_binary(const Kernel<BinaryArgs>& kernel, const Tensor& a, const Tensor& b);

}  // namespace wick::detail
