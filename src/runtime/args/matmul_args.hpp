#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// c = alpha · a b + beta · c for each of G matrices.
/// a [G,M,K] and b [G,K,N]: any strides (a transposed matrix has stride 1 along its first axis, a
/// shared one a stride of 0 along G). c [G,M,N] with stride(2) = 1. Floating dtypes, not
/// necessarily equal; float32 accumulation. With beta = 0 c is never read. K may be 0.
struct MatmulArgs {
  TensorView a, b, c;
  float alpha = 1;
  float beta = 0;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("a", a);
    visit("b", b);
    visit("c", c);
  }
};

}  // namespace wick
