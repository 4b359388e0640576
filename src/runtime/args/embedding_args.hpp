#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// out[n,:] = weight[ids[n],:]. weight [V,D] with stride(1) = 1, ids [N] i32 or i64 dense, out [N,D] of
/// weight's dtype, dense. An id outside [0,V) is invalid.
struct EmbeddingArgs {
  TensorView weight, ids, out;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("weight", weight);
    visit("ids", ids);
    visit("out", out);
  }
};

/// dweight = 0, then dweight[ids[n],:] += dy[n,:], with float32 accumulation in the order of n.
/// dy [N,D], ids [N], dweight [V,D], dense; ids were checked by the forward pass.
struct EmbeddingBackwardArgs {
  TensorView dy, ids, dweight;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("ids", ids);
    visit("dweight", dweight);
  }
};

}  // namespace wick
