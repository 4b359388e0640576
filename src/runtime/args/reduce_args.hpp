#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// out = factor · Σ x over the last `num_reduced` dimensions of x (any strides). out is dense, with the
/// other dimensions of x and x's dtype (i64 for i32).
struct ReduceArgs {
  TensorView x, out;
  int num_reduced = 0;
  double factor = 1;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("out", out);
  }
};

/// indices[r] = position of the largest x[r,:]; the first of equals; a NaN counts as largest.
/// x [R,D], any strides, D >= 1; indices [R] i64 dense; values [R] of x's dtype, dense, may be absent.
struct ArgmaxArgs {
  TensorView x, indices, values;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("indices", indices);
    visit("values", values);
  }
};

/// The K largest of each row, largest first, equals by position. x [R,D], any strides, 1 <= K <= D;
/// values [R,K] of x's dtype and indices [R,K] i64, dense. A NaN counts as largest.
struct TopKArgs {
  TensorView x, values, indices;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("values", values);
    visit("indices", indices);
  }
};

/// dx = 0, then dx[r, indices[r,k]] += dy[r,k]. dy [R,K], indices [R,K] i64, dx [R,D], all dense.
struct ScatterRowsArgs {
  TensorView dy, indices, dx;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("indices", indices);
    visit("dx", dx);
  }
};

}  // namespace wick
