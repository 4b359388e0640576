#pragma once

#include <cstdint>

#include "layout/tensor_view.hpp"

namespace wick {

/// For row n with target t = targets[n] ≠ ignore_index and w = weights[n] (1 when absent):
/// loss_sum += w · ((1 − ε)(lse − z[t]) + ε (lse − mean z)), weight_sum += w; lse[n] = log Σ exp z.
/// Both sums start at 0 unless `accumulate`; inv_weight = 1 / weight_sum, or 0 where that is 0.
/// logits z [N,V] with stride(1) = 1, targets [N] i32 or i64 dense, weights [N] f32 dense or absent, lse [N]
/// f32 dense; loss_sum, weight_sum, inv_weight [] f32. A target outside [0,V) is invalid.
/// dlogits may be absent; else it becomes the gradient of loss_sum and is laid out as in CrossEntropyBackwardArgs.
struct CrossEntropyArgs {
  TensorView logits, targets, weights, lse, loss_sum, weight_sum, inv_weight, dlogits;
  std::int64_t ignore_index = -100;
  float label_smoothing = 0;
  bool accumulate = false;
  std::int64_t first_row = 0;  ///< number of row 0 in messages: rows may come in chunks

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("logits", logits);
    visit("targets", targets);
    visit("weights", weights);
    visit("lse", lse);
    visit("loss_sum", loss_sum);
    visit("weight_sum", weight_sum);
    visit("inv_weight", inv_weight);
    visit("dlogits", dlogits);
  }
};

/// dlogits[n,:] = dloss · factor · w · (softmax(z) − (1 − ε) onehot(t) − ε / V), zeros for ignored rows.
/// dloss [] f32, may be absent (1); factor [] f32, may be absent (1). dlogits is dense, of
/// logits' dtype or of any floating one when logits are f32; of one dtype it may be the very same memory as dense logits.
struct CrossEntropyBackwardArgs {
  TensorView dloss, factor, logits, targets, weights, lse, dlogits;
  std::int64_t ignore_index = -100;
  float label_smoothing = 0;

  template <class Visitor>
  void for_each_view(Visitor&& visit) const {
    visit("dloss", dloss);
    visit("factor", factor);
    visit("logits", logits);
    visit("targets", targets);
    visit("weights", weights);
    visit("lse", lse);
    visit("dlogits", dlogits);
  }
};

/// The gradient that a call with dlogits asks for, as a call of its own.
inline CrossEntropyBackwardArgs gradient_of(const CrossEntropyArgs& args) {
  return {.dloss = {},
          .factor = {},
          .logits = args.logits,
          .targets = args.targets,
          .weights = args.weights,
          .lse = args.lse,
          .dlogits = args.dlogits,
          .ignore_index = args.ignore_index,
          .label_smoothing = args.label_smoothing};
}

}  // namespace wick
