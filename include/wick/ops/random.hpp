#pragma once

#include <cstdint>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// Names a stretch of the Philox stream of `seed`: element i of a random tensor is made from lane i mod 4 of
/// counter offset + i / 4. The same key gives the same numbers on every backend, whatever the threads; a
/// caller that draws n numbers moves offset on by ⌈n / 4⌉.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;
  /// Added to offset when the op runs: a [] i64 tensor on the op's device, or undefined. A captured graph
  /// draws new numbers each time because this one changes.
  Tensor offset_base = {};
};

/// Uniform numbers in [low, high).
///
/// Shapes: any.
/// Dtypes: f32, f16, bf16. u = (word >> 8) · 2⁻²⁴, out = low + (high − low) · u in f32, rounded to dtype; a
///   result that rounds to high becomes the largest number below it. A low that dtype cannot hold rounds too.
/// Errors: kDtype, kArgument unless low < high and both are finite, kShape or kDtype or kDevice for a bad
///   offset_base.
/// Gradient: none.
/// Source: Salmon et al. 2011 (Philox-4x32-10), https://doi.org/10.1145/2063384.2063405
Tensor random_uniform(const Shape& shape, DType dtype, const RandomKey& key, double low = 0,
                      double high = 1, Device device = kCpuDevice);

/// Normally distributed numbers, by Box and Muller's method on lanes (0, 1) and (2, 3) of a counter.
///
/// Shapes: any.
/// Dtypes: f32, f16, bf16. r = √(−2 ln(((w₀ >> 8) + 1) · 2⁻²⁴)), θ = 2π (w₁ >> 8) · 2⁻²⁴; mean + std · r cos θ
///   and mean + std · r sin θ.
/// Errors: kDtype, kArgument unless std >= 0 and both are finite, kShape or kDtype or kDevice for a bad
///   offset_base.
/// Gradient: none.
/// Source: Box and Muller 1958, https://doi.org/10.1214/aoms/1177706645
Tensor random_normal(const Shape& shape, DType dtype, const RandomKey& key, double mean = 0,
                     double std = 1, Device device = kCpuDevice);

/// Zeroes elements with probability p and scales the others by 1 / (1 − p). Element i is kept when its uniform
/// number is >= p; p = 0 returns x itself.
///
/// Shapes: x any; out the same.
/// Dtypes: f32, f16, bf16; out as x.
/// Errors: kDtype, kArgument unless 0 <= p < 1, kShape or kDtype or kDevice for a bad offset_base.
/// Gradient: x, through the same mask.
/// Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
Tensor dropout(const Tensor& x, double p, const RandomKey& key);

}  // namespace wick
