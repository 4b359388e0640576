#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// Rotates the pairs (x[i], x[i + P]) for i < P by positions · inv_freq[i], P = inv_freq.dim(0); elements
/// from 2P on are copied. out = attention_factor · rotation for the rotated part.
/// x [B,T,H,Dh] with stride(3) = 1, positions [B,T] i32 or i64 (any strides), inv_freq [P] f32 dense,
/// out [B,T,H,Dh] dense of x's dtype. `inverse` rotates by the negative angle (the gradient).
/// y and y_out, which may be absent, are as x and out but for the number of heads: a layer's queries and keys.
struct RopeArgs {
  TensorView x, positions, inv_freq, out, y, y_out;
  float attention_factor = 1;
  bool inverse = false;

  /// The rotation of y alone.
  RopeArgs of_y() const {
    RopeArgs other = *this;
    other.x = y;
    other.out = y_out;
    other.y = other.y_out = {};
    return other;
  }
  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("positions", positions);
    visit("inv_freq", inv_freq);
    visit("out", out);
    visit("y", y);
    visit("y_out", y_out);
  }
};

}  // namespace wick
