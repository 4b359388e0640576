#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// out[n] = magnitude[n] / norm[n], norm[n] = ‖w[n,:] + scale · (b a)[n,:]‖₂; 0 where norm is 0.
/// magnitude [N] f32, w [N,K] with stride(1) = 1 of any floating dtype, a [R,K], b [N,R], out [N] f32: dense
/// but for w. a and b share a dtype, f32 or w's. norm [N] f32, dense, may be absent: receives the norms.
struct DoraGainArgs {
  TensorView magnitude, w, a, b, out, norm;
  float scale = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("magnitude", magnitude);
    visit("weight", w);
    visit("lora_a", a);
    visit("lora_b", b);
    visit("out", out);
    visit("norm", norm);
  }
};

/// dmagnitude[n] = dy[n] / norm[n]; 0 where norm is 0. All [N] f32, dense.
struct DoraGainBackwardArgs {
  TensorView dy, norm, dmagnitude;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("norm", norm);
    visit("dmagnitude", dmagnitude);
  }
};

}  // namespace wick
