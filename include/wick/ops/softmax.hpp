#pragma once

#include "wick/tensor/tensor.hpp"

namespace wick {

/// out = exp(x − max) / Σ exp(x − max) along an axis.
///
/// A row that is −∞ throughout (fully masked) gives zeros.
/// Shapes: rank >= 1; out as x. Negative axes count from the end.
/// Dtypes: f32, f16, bf16; out as x, computed in f32.
/// Errors: kShape for a bad axis, kDtype.
/// Gradient: x; zeros for a fully masked row.
/// Source: Milakov and Gimelshein 2018 (stable form), https://arxiv.org/abs/1805.02867
Tensor softmax(const Tensor& x, int axis = -1);

/// out = x − max − log Σ exp(x − max) along an axis.
///
/// A row that is −∞ throughout (fully masked) gives −∞.
/// Shapes: rank >= 1; out as x. Negative axes count from the end.
/// Dtypes: f32, f16, bf16; out as x, computed in f32.
/// Errors: kShape for a bad axis, kDtype.
/// Gradient: x; zeros for a fully masked row.
/// Source: Milakov and Gimelshein 2018 (stable form), https://arxiv.org/abs/1805.02867
Tensor log_softmax(const Tensor& x, int axis = -1);

}  // namespace wick
