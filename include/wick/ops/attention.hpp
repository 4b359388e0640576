#pragma once

#include <cstdint>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// Which keys a query may see. Query t of T stands at position S − T + t among the S keys, so that a cache
/// of earlier keys is simply a longer k and v.
struct AttentionOptions {
  double scale = 0;         ///< factor of the scores; 0 means 1/√Dh
  bool causal = true;       ///< no key after the query
  std::int64_t window = 0;  ///< only keys less than this many positions away; 0 means all
  /// [B,S] bool: false hides a key (padding on either side); undefined: all seen
  Tensor key_mask = {};
  Tensor segments = {};  ///< [B,S] i32: packed documents; a query sees keys of its own number only
};

/// Scaled dot-product attention with grouped heads: out = softmax(scale · q kᵀ + mask) v.
///
/// Never forms a [T,S] matrix, forward or backward: memory grows with T + S. A query that sees no key gives
/// zeros and no gradient; what a hidden key holds (NaN included) never reaches a result.
/// Shapes: q [B,T,H,Dh]; k, v [B,S,Hkv,Dh]; H a multiple of Hkv, query head h uses key head h · Hkv / H;
///   causal, window or segments need T <= S; out [B,T,H,Dh].
/// Dtypes: q, k, v f32, f16 or bf16, equal; out the same. Scores and sums in f32.
/// Errors: kShape, kDtype, kDevice; kArgument for a negative window or a scale that is negative or not finite.
/// Gradient: q, k, v.
/// Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; Ainslie et al. 2023 (grouped heads),
///   https://arxiv.org/abs/2305.13245; Dao 2023 (tiles), https://arxiv.org/abs/2307.08691
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {});

}  // namespace wick
