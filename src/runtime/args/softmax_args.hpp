#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// softmax: out = exp(x − max) / Σ exp(x − max) over each row; log_softmax: its logarithm.
/// x [R,D] with stride(1) = 1, out [R,D] dense of the same dtype. A row that is −∞ throughout gives
/// zeros (softmax) or −∞ (log_softmax).
struct SoftmaxArgs {
  TensorView x, out;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("out", out);
  }
};

/// softmax: dx = y (dy − Σ dy · y); log_softmax: dx = dy − exp(y) Σ dy, and zeros for a row that is −∞
/// throughout. All [R,D], dense, of one dtype.
struct SoftmaxBackwardArgs {
  TensorView dy, y, dx;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("y", y);
    visit("dx", dx);
  }
};

}  // namespace wick
