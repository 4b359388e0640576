#pragma once

#include <algorithm>
#include <cmath>

#include "reference/array.hpp"
#include "reference/softmax_ref.hpp"

namespace wick::reference {

/// The options of cross_entropy_ref(); `weights` has one number per row, or none at all.
struct CrossEntropySettings {
  double ignore_index = -100;
  double label_smoothing = 0;
  bool mean = true;
  std::vector<double> weights = {};
};

/// Σ w · row(n), over rows whose target is not ignored; divided by Σ w when the mean is asked for,
/// and 0 when there is nothing to divide by.
template <class Row>
Array reduce_rows(const Array& targets, const CrossEntropySettings& settings, const Row& row) {
  double sum = 0;
  double weight_sum = 0;
  for (std::int64_t n = 0; n < targets.numel(); ++n) {
    if (targets[n] == settings.ignore_index) continue;
    const double w = settings.weights.empty() ? 1 : settings.weights[static_cast<std::size_t>(n)];
    sum += w * row(n);
    weight_sum += w;
  }
  if (settings.mean) sum = weight_sum == 0 ? 0 : sum / weight_sum;
  return Array({}, {sum});
}

/// log Σ_v exp z[n,v].
inline double log_sum_exp(const Array& z, std::int64_t n) {
  const std::int64_t V = z.dim(1);
  const double max = row_max(z, n * V, 1, V);
  double sum = 0;
  for (std::int64_t v = 0; v < V; ++v) sum += std::exp(z[n * V + v] - max);
  return max + std::log(sum);
}

/// loss[n] = (1 − ε)(log Σ exp z − z[t]) + ε (log Σ exp z − mean z), reduced over rows. z [N,V], t
/// [N].
inline Array cross_entropy_ref(const Array& z, const Array& targets,
                               const CrossEntropySettings& settings) {
  const std::int64_t V = z.dim(1);
  const double epsilon = settings.label_smoothing;
  return reduce_rows(targets, settings, [&](std::int64_t n) {
    const double lse = log_sum_exp(z, n);
    const double loss = lse - z[n * V + static_cast<std::int64_t>(targets[n])];
    if (epsilon == 0) return loss;  // the mean may be −∞, and 0 · ∞ is not 0
    double mean = 0;
    for (std::int64_t v = 0; v < V; ++v) mean += z[n * V + v] / static_cast<double>(V);
    return (1 - epsilon) * loss + epsilon * (lse - mean);
  });
}

/// What the loss is a sum of: (1 − ε)(|log Σ exp z| + |z[t]|) + ε (|log Σ exp z| + mean |z|).
inline Array cross_entropy_magnitude(const Array& z, const Array& targets,
                                     const CrossEntropySettings& settings) {
  const std::int64_t V = z.dim(1);
  const double epsilon = settings.label_smoothing;
  return reduce_rows(targets, settings, [&](std::int64_t n) {
    const double lse = std::abs(log_sum_exp(z, n));
    const double target = std::abs(z[n * V + static_cast<std::int64_t>(targets[n])]);
    if (epsilon == 0) return lse + target;
    double mean = 0;
    for (std::int64_t v = 0; v < V; ++v) mean += std::abs(z[n * V + v]) / static_cast<double>(V);
    return (1 - epsilon) * (lse + target) + epsilon * (lse + mean);
  });
}

}  // namespace wick::reference
