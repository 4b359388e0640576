#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// Rotates the pairs (x[i], x[i + P]) for i < P by positions · inv_freq[i], P = inv_freq.dim(0); elements
/// from 2P on are copied. out = attention_factor · rotation for the rotated part.
/// x [B,T,H,Dh] with stride(3) = 1, positions [B,T] i32 or i64 (any strides), inv_freq [P] f32 dense,
/// out [B,T,H,Dh] dense of x's dtype. `inverse` rotates by the negative angle (the gradient).
struct RopeArgs {
  TensorView x, positions, inv_freq, out;
  float attention_factor = 1;
  bool inverse = false;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("positions", positions);
    visit("inv_freq", inv_freq);
    visit("out", out);
  }
};

}  // namespace wick
