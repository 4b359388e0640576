#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "ops/checks.hpp"
#include "wick/ops/rope.hpp"

namespace wick {

namespace {

void check_options(const RopeOptions& o) {
  const detail::Check check("rope_frequencies", {});
  const auto positive = [&](const char* name, double value) {
    check.that(std::isfinite(value) && value > 0, ErrorKind::kArgument,
               "{} must be positive and finite, got {}", name, value);
  };
  check.that(o.rotary_dim > 0 && o.rotary_dim % 2 == 0, ErrorKind::kArgument,
             "rotary_dim must be even and positive, got {}", o.rotary_dim);
  positive("rope_theta", o.rope_theta);
  positive("factor", o.factor);
  positive("low_freq_factor", o.low_freq_factor);
  positive("high_freq_factor", o.high_freq_factor);
  positive("original_max_position_embeddings", o.original_max_position_embeddings);
  positive("beta_fast", o.beta_fast);
  positive("beta_slow", o.beta_slow);
  check.that(o.scaling != RopeScaling::kLlama3 || o.high_freq_factor > o.low_freq_factor,
             ErrorKind::kArgument, "high_freq_factor {} must be above low_freq_factor {}",
             o.high_freq_factor, o.low_freq_factor);
  check.that(std::isfinite(o.attention_factor) && o.attention_factor >= 0, ErrorKind::kArgument,
             "attention_factor must be finite and not negative, got {}", o.attention_factor);
}

// Long waves are stretched by the factor, short ones kept, those between blended.
double llama3(double frequency, const RopeOptions& o) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double context = o.original_max_position_embeddings;
  if (wavelength < context / o.high_freq_factor) return frequency;
  if (wavelength > context / o.low_freq_factor) return frequency / o.factor;
  const double smooth =
      (context / wavelength - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  return (1 - smooth) * frequency / o.factor + smooth * frequency;
}

// The (fractional) dimension whose wave turns `rotations` times over the original context.
double yarn_dimension(double rotations, const RopeOptions& o) {
  const double turns = o.original_max_position_embeddings / (rotations * 2 * std::numbers::pi);
  return static_cast<double>(o.rotary_dim) * std::log(turns) / (2 * std::log(o.rope_theta));
}

double yarn(double frequency, std::int64_t pair, const RopeOptions& o) {
  double low = yarn_dimension(o.beta_fast, o);
  double high = yarn_dimension(o.beta_slow, o);
  if (o.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(o.rotary_dim - 1));
  if (low == high) high += 0.001;  // no division by zero
  const double ramp = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  return frequency / o.factor * ramp + frequency * (1 - ramp);
}

double attention_factor(const RopeOptions& o) {
  if (o.scaling != RopeScaling::kYarn) return 1;
  if (o.attention_factor > 0) return o.attention_factor;
  return o.factor <= 1 ? 1 : 0.1 * std::log(o.factor) + 1;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeOptions& options, Device device) {
  check_options(options);
  std::vector<float> inv_freq;
  for (std::int64_t pair = 0; pair < options.rotary_dim / 2; ++pair) {
    const double exponent = 2 * static_cast<double>(pair) / static_cast<double>(options.rotary_dim);
    // Rounded where transformers rounds it.
    double frequency = 1.0F / static_cast<float>(std::pow(options.rope_theta, exponent));
    if (options.scaling == RopeScaling::kLinear) frequency /= options.factor;
    if (options.scaling == RopeScaling::kLlama3) frequency = llama3(frequency, options);
    if (options.scaling == RopeScaling::kYarn) frequency = yarn(frequency, pair, options);
    inv_freq.push_back(static_cast<float>(frequency));
  }
  const Shape shape{static_cast<std::int64_t>(inv_freq.size())};
  return {.inv_freq = Tensor::from_values(inv_freq, shape, device),
          .attention_factor = attention_factor(options)};
}

}  // namespace wick
