#pragma once

#include <span>
#include <string>

#include "backends/cuda/thin_products.hpp"

namespace wick::cuda {

inline constexpr int kMostHopperThin = 6;

/// Why multiply_hopper_thin() does not take these products, empty when it does. Looks at sizes, strides and addresses
/// alone.
std::string hopper_thin_refusal(Stream& stream, std::span<const ThinProducts> products);

/// Enqueues up to kMostHopperThin products of one M and dtype in one launch, on Hopper. Each wants d, and p in x's dtype if
/// t is given; t is dense along the rank and of x's dtype. The p of a product may be part of the g of a later one that
/// wants d alone. Early: the kernel before in the stream is
/// copy_small() and makes t at most, all else is read while it still runs. d is complete after sums.finish().
KernelStatus multiply_hopper_thin(Stream& stream, std::span<const ThinProducts> products,
                                  ThinSums& sums, bool early);

}  // namespace wick::cuda
