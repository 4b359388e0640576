#pragma once

#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// The numbers of one AdamW step.
struct AdamwForm {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
};

/// A parameter and its moments, all of one shape.
struct AdamwState {
  Array parameter, m, v;
};

/// m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
/// p ← p − lr (m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + eps) + weight_decay · p).
inline AdamwState adamw_ref(AdamwState state, const Array& grad, double t, const AdamwForm& form) {
  auto& [p, m, v] = state;
  for (std::int64_t i = 0; i < p.numel(); ++i) {
    m[i] = form.beta1 * m[i] + (1 - form.beta1) * grad[i];
    v[i] = form.beta2 * v[i] + (1 - form.beta2) * grad[i] * grad[i];
    const double m_hat = m[i] / (1 - std::pow(form.beta1, t));
    const double v_hat = v[i] / (1 - std::pow(form.beta2, t));
    p[i] -= form.lr * (m_hat / (std::sqrt(v_hat) + form.eps) + form.weight_decay * p[i]);
  }
  return state;
}

/// What the terms of a step add up to: the same with |p|, |m|, |g| and nothing subtracted.
inline AdamwState adamw_magnitude(AdamwState state, const Array& grad, double t, AdamwForm form) {
  auto& [p, m, v] = state;
  Array g = grad;
  for (std::int64_t i = 0; i < p.numel(); ++i) {
    p[i] = std::abs(p[i]);
    m[i] = std::abs(m[i]);
    g[i] = std::abs(g[i]);
  }
  form.lr = -form.lr;
  return adamw_ref(std::move(state), g, t, form);
}

}  // namespace wick::reference
