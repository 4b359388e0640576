#pragma once

// How a case of attention is made.

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "harness/op_spec.hpp"
#include "reference/attention_ref.hpp"
#include "wick/ops/attention.hpp"

namespace wick::testing {

/// Shapes of q, k and v.
struct AttentionSize {
  std::int64_t B = 1;
  std::int64_t T = 0;
  std::int64_t S = 0;
  std::int64_t H = 1;
  std::int64_t Hkv = 1;
  std::int64_t Dh = 8;
};

/// The number that belongs to key s of batch row b.
using PerKey = std::function<double(std::int64_t b, std::int64_t s)>;

/// What else differs from case to case.
struct AttentionCaseOptions {
  double scale = 0;
  bool causal = true;
  std::int64_t window = 0;
  PerKey key_mask = {};
  PerKey segments = {};
  Lay mask_lay = Lay::kDense;
  Lay lay = Lay::kDense;
  Values q = normal();
  Values k = normal();
  Values v = normal();
  double score_size = 1;  ///< of an element of q times one of k
  bool gradient = true;
};

inline Values per_key(const PerKey& f, std::int64_t S) {
  return [=](Rng&, std::int64_t i, std::int64_t) { return f(i / S, i % S); };
}

inline std::vector<Input> attention_inputs(const AttentionSize& size,
                                           const AttentionCaseOptions& o) {
  const Shape keys = {size.B, size.S, size.Hkv, size.Dh};
  std::vector<Input> inputs = {
      {.name = "q", .shape = {size.B, size.T, size.H, size.Dh}, .values = o.q, .lay = o.lay},
      {.name = "k", .shape = keys, .values = o.k, .lay = o.lay},
      {.name = "v", .shape = keys, .values = o.v, .lay = o.lay}};
  const auto add_mask = [&](const char* name, const PerKey& f, DType dtype) {
    if (!f) return;
    inputs.push_back({.name = name,
                      .shape = {size.B, size.S},
                      .values = per_key(f, size.S),
                      .lay = o.mask_lay,
                      .fixed_dtype = {dtype},
                      .differentiable = false});
  };
  add_mask("key_mask", o.key_mask, DType::kBool);
  add_mask("segments", o.segments, DType::kI32);
  return inputs;
}

inline AttentionOptions attention_options(std::span<const Tensor> in,
                                          const AttentionCaseOptions& o) {
  AttentionOptions options = {.scale = o.scale, .causal = o.causal, .window = o.window};
  if (o.key_mask) options.key_mask = in[3];
  if (o.segments) options.segments = in[o.key_mask ? 4 : 3];
  return options;
}

inline reference::AttentionSettings attention_settings(std::span<const Array> in,
                                                       const AttentionCaseOptions& o) {
  const double scale = o.scale > 0 ? o.scale : 1 / std::sqrt(static_cast<double>(in[0].dim(-1)));
  reference::AttentionSettings settings = {.scale = static_cast<double>(static_cast<float>(scale)),
                                           .causal = o.causal,
                                           .window = o.window};
  if (o.key_mask) settings.key_mask = in[3];
  if (o.segments) settings.segments = in[o.key_mask ? 4 : 3];
  return settings;
}

/// One call of attention() with its inputs, reference and tolerance.
inline OpCase attention_case(const std::string& name, const AttentionSize& size,
                             const AttentionCaseOptions& o = {}) {
  OpCase result;
  result.name = name;
  result.inputs = attention_inputs(size, o);
  result.run = [=](std::span<const Tensor> in) {
    return std::vector{attention(in[0], in[1], in[2], attention_options(in, o))};
  };
  result.reference = [=](std::span<const Array> in) {
    return std::vector{reference::attention_ref(in[0], in[1], in[2], attention_settings(in, o))};
  };
  result.tolerance.magnitude = [=](std::span<const Array> in) {
    return std::vector{
        reference::attention_magnitude(in[0], in[1], in[2], attention_settings(in, o))};
  };
  const auto Dh = static_cast<double>(size.Dh);
  result.tolerance.length = static_cast<double>(std::max(size.S, size.Dh));
  // A score off by δ changes its probability by the factor 1 + δ; it is scale times a sum of Dh
  // products, whose roundings add up to about 0.3 Dh u of their size.
  const double scale = o.scale > 0 ? o.scale : 1 / std::sqrt(Dh);
  result.tolerance.condition = 1 + 0.1 * scale * Dh * o.score_size;
  result.gradient_length = static_cast<double>(
      std::max({size.S, size.T * (size.Hkv > 0 ? size.H / size.Hkv : 1), size.Dh}));
  // p (dp − Σ p dp): the terms are sums of Dh products each, and may cancel.
  result.gradient_condition = result.tolerance.condition * (1 + std::sqrt(Dh));
  // With a single key the gradients of q and k are zeros by cancellation, and nothing to compare
  // with.
  const bool single_key = size.S == 1 || o.window == 1;
  const std::int64_t cost = 4 * size.B * size.H * size.T * size.S * size.Dh;
  result.gradient = o.gradient && !single_key && (o.causal ? cost / 2 : cost) <= 110'000;
  // p may be rounded for its product with v. Σ p dp is made of `out` as it was rounded, which adds
  // an error that may exceed what a row's gradient cancels to: some 3 roundings of the largest.
  result.tolerance.roundings = result.gradient ? 3 : 1;
  return result;
}

/// Key s of batch row b is hidden when it is among the first pad[b], or among the last −pad[b].
inline PerKey padding(std::vector<std::int64_t> pad, std::int64_t S) {
  return [=](std::int64_t b, std::int64_t s) {
    const std::int64_t count = pad[static_cast<std::size_t>(b) % pad.size()];
    return count >= 0 ? s >= count : s < S + count;
  };
}

/// Documents that begin at these positions; batch row b's numbers start at b.
inline PerKey documents(std::vector<std::int64_t> begins) {
  return [=](std::int64_t b, std::int64_t s) {
    double number = static_cast<double>(b);
    for (const std::int64_t begin : begins) number += s >= begin ? 1 : 0;
    return number;
  };
}

}  // namespace wick::testing
