#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "reference/array.hpp"

namespace wick::reference {

// The angular frequencies of rotary embeddings, [dim / 2] in double, by config.json's rope_type.

/// "default": 1 / theta^(2i / dim), power and quotient rounded to f32 as transformers does.
inline Array rope_default_frequencies(std::int64_t dim, double theta) {
  Array frequencies({dim / 2});
  for (std::int64_t i = 0; i < dim / 2; ++i) {
    const double power = std::pow(theta, 2 * static_cast<double>(i) / static_cast<double>(dim));
    frequencies[i] = 1 / static_cast<float>(power);
  }
  return frequencies;
}

/// "linear": those / factor.
inline Array rope_linear_frequencies(std::int64_t dim, double theta, double factor) {
  Array frequencies = rope_default_frequencies(dim, theta);
  for (double& frequency : frequencies.data) frequency /= factor;
  return frequencies;
}

/// "llama3": a wave longer than original / low is stretched by factor, one shorter than original /
/// high stays; between them a mixture that is linear in the number of waves within `original`
/// positions.
inline Array rope_llama3_frequencies(std::int64_t dim, double theta, double factor, double low,
                                     double high, double original) {
  Array frequencies = rope_default_frequencies(dim, theta);
  for (double& frequency : frequencies.data) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength > original / low) {
      frequency /= factor;
    } else if (wavelength >= original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return frequencies;
}

/// The numbers of "yarn" beside dim, theta and factor.
struct RopeYarn {
  double original = 8192;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;
};

/// "yarn": with d(β) = dim ln(original / 2πβ) / (2 ln theta), the dimension that turns β times
/// within `original` positions, frequencies before d(beta_fast) stay, those behind d(beta_slow) are
/// divided by factor, and a linear ramp leads from one to the other. truncate rounds d outwards to
/// whole numbers.
inline Array rope_yarn_frequencies(std::int64_t dim, double theta, double factor,
                                   const RopeYarn& yarn) {
  const auto dimension = [&](double beta) {
    return static_cast<double>(dim) * std::log(yarn.original / (2 * std::numbers::pi * beta)) /
           (2 * std::log(theta));
  };
  double low = dimension(yarn.beta_fast);
  double high = dimension(yarn.beta_slow);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  Array frequencies = rope_default_frequencies(dim, theta);
  for (std::int64_t i = 0; i < dim / 2; ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / factor * ramp + frequencies[i] * (1 - ramp);
  }
  return frequencies;
}

/// 0.1 ln(factor) + 1, and 1 when nothing is stretched.
inline double rope_yarn_attention_factor(double factor) {
  return factor <= 1 ? 1 : 0.1 * std::log(factor) + 1;
}

/// With φ = position · frequency[i], rounded to f32 as transformers does, and P frequencies:
/// y[i] = f (x[i] cos φ − x[i + P] sin φ), y[i + P] = f (x[i + P] cos φ + x[i] sin φ), i < P; the
/// rest is copied. x [B,T,H,Dh], positions [B,T] or [T].
inline Array rope_ref(const Array& x, const Array& positions, const Array& frequencies, double f) {
  const std::int64_t T = x.dim(1);
  const std::int64_t H = x.dim(2);
  const std::int64_t Dh = x.dim(3);
  const std::int64_t P = frequencies.numel();
  Array y = x;
  for (std::int64_t row = 0; row < x.dim(0) * T * H; ++row) {
    const std::int64_t token = row / H;
    const double position = positions[positions.rank() == 1 ? token % T : token];
    for (std::int64_t i = 0; i < P; ++i) {
      const double angle = static_cast<float>(position * frequencies[i]);
      const double cosine = std::cos(angle);
      const double sine = std::sin(angle);
      const double first = x[row * Dh + i];
      const double second = x[row * Dh + i + P];
      y[row * Dh + i] = f * (first * cosine - second * sine);
      y[row * Dh + i + P] = f * (second * cosine + first * sine);
    }
  }
  return y;
}

/// What the elements of rope_ref() are sums of: f (|x[i]| + |x[i + P]|), and |x| where it is
/// copied.
inline Array rope_magnitude(const Array& x, std::int64_t P, double f) {
  const std::int64_t Dh = x.dim(-1);
  Array sizes(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const std::int64_t d = i % Dh;
    sizes[i] = std::abs(x[i]);
    if (d < 2 * P) sizes[i] = f * (sizes[i] + std::abs(x[d < P ? i + P : i - P]));
  }
  return sizes;
}

}  // namespace wick::reference
