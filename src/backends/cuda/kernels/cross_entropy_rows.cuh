#pragma once

#include "backends/cuda/fault.cuh"
#include "backends/cuda/rows.cuh"

// What the kernels of the loss share: the rows, and what becomes of one when all of it was seen.

namespace wick::cuda {

/// What a row adds to the sums.
struct RowLoss {
  double loss;
  double weight;
};

/// The maximum m of a row, Σ exp(z − m), z[t], and Σ z where labels are smoothed.
struct RowTotals {
  float max;
  float sum;
  float target_logit;
  float logit_sum;
};

/// (1 − ε)(lse − z[t]) + ε (lse − mean z). Differences from the maximum are taken first: lse itself may be large
/// where the loss is small.
__device__ inline double loss_of(const RowTotals& row, double V, double epsilon) {
  if (row.max == -INFINITY) return INFINITY;  // no class has any probability, the target neither
  const double log_sum = static_cast<double>(logf(row.sum));
  const double max = static_cast<double>(row.max);
  const double loss = log_sum + (max - static_cast<double>(row.target_logit));
  if (epsilon == 0) return loss;  // the mean may be −∞, and 0 · ∞ is not 0
  return (1 - epsilon) * loss +
         epsilon * (log_sum + (max - static_cast<double>(row.logit_sum) / V));
}

/// logits z [N,V] rows `stride` apart; the others as in CrossEntropyArgs, weights may be null.
template <class T, class Index>
struct LossRows {
  const T* logits;
  std::int64_t stride;
  const Index* targets;
  const float* weights;
  float* lse;
  RowLoss* rows;
  Fault* fault;
  std::int64_t N;
  std::int64_t V;
  std::int64_t ignore_index;
  std::int64_t first_row;
  float label_smoothing;

  /// Whether a row of that target takes part; one out of range does not.
  __device__ bool counts(std::int64_t target) const {
    return target >= 0 && target < V && target != ignore_index;
  }
  __device__ float weight(std::int64_t n) const { return weights == nullptr ? 1.0F : weights[n]; }

  /// Row n adds nothing; one thread says so. A target out of range is reported.
  __device__ void leave_out(std::int64_t n, std::int64_t target) const {
    lse[n] = 0;
    rows[n] = {0, 0};
    if (target != ignore_index) report_fault(fault, FaultKind::kTarget, first_row + n, target, V);
  }
  /// Row n adds its loss; one thread says so.
  __device__ void finish(std::int64_t n, const RowTotals& row, float row_weight) const {
    const double wide = static_cast<double>(row_weight);
    lse[n] = row.max == -INFINITY ? -INFINITY : row.max + logf(row.sum);
    rows[n] = {wide * loss_of(row, static_cast<double>(V), static_cast<double>(label_smoothing)),
               wide};
  }
};

}  // namespace wick::cuda
