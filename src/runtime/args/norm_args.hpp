#pragma once

#include "layout/tensor_view.hpp"

namespace wick {

/// out = x · inv_rms · weight, inv_rms = 1/√(mean(x²) + eps) over each row.
/// x [R,D] with stride(1) = 1, weight [D] dense of x's dtype or f32, out [R,D] of x's dtype, dense;
/// inv_rms [R] f32, dense, may be absent.
/// With an addend, sum = x + addend, rounded, is what is normed: both [R,D] of x's dtype, dense, as x then is.
struct RmsNormArgs {
  TensorView x, weight, out, inv_rms;
  float eps = 1e-5F;
  TensorView addend = {}, sum = {};

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("weight", weight);
    visit("out", out);
    visit("inv_rms", inv_rms);
    visit("addend", addend);
    visit("sum", sum);
  }
};

/// With n = x · inv_rms and g = dy · weight: dx = inv_rms (g − n · mean(g · n)), dweight = Σ dy · n over rows.
/// dy [R,D] dense; dx and dweight dense, of x's and weight's dtype, each may be absent. dsum as dx, may be absent: is
/// added to dx, before it is rounded.
struct RmsNormBackwardArgs {
  TensorView dy, x, weight, inv_rms, dx, dweight;
  TensorView dsum = {};

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("x", x);
    visit("weight", weight);
    visit("inv_rms", inv_rms);
    visit("dx", dx);
    visit("dweight", dweight);
    visit("dsum", dsum);
  }
};

/// out = (x − mean) · inv_std · weight + bias, inv_std = 1/√(var + eps), var over D without correction.
/// As RmsNormArgs; mean and inv_std [R] f32 come as a pair and may be absent; bias may be absent.
struct LayerNormArgs {
  TensorView x, weight, bias, out, mean, inv_std;
  float eps = 1e-5F;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("x", x);
    visit("weight", weight);
    visit("bias", bias);
    visit("out", out);
    visit("mean", mean);
    visit("inv_std", inv_std);
  }
};

/// With n = (x − mean) · inv_std and g = dy · weight: dx = inv_std (g − mean(g) − n · mean(g · n)),
/// dweight = Σ dy · n, dbias = Σ dy over rows. dx, dweight, dbias may each be absent.
struct LayerNormBackwardArgs {
  TensorView dy, x, weight, mean, inv_std, dx, dweight, dbias;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dy", dy);
    visit("x", x);
    visit("weight", weight);
    visit("mean", mean);
    visit("inv_std", inv_std);
    visit("dx", dx);
    visit("dweight", dweight);
    visit("dbias", dbias);
  }
};

}  // namespace wick
