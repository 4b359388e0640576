#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "reference/array.hpp"

namespace wick::reference {

/// Which keys a query sees; key_mask and segments are [B,S], or without elements when not given.
struct AttentionSettings {
  double scale = 1;
  bool causal = true;
  std::int64_t window = 0;
  Array key_mask = {};
  Array segments = {};
};

/// Whether query t of T, which stands at position S − T + t, sees key s of S.
inline bool attention_sees(const AttentionSettings& settings, std::int64_t b, std::int64_t t,
                           std::int64_t T, std::int64_t s, std::int64_t S) {
  const std::int64_t position = S - T + t;
  if (settings.causal && s > position) return false;
  if (settings.window != 0 && std::abs(position - s) >= settings.window) return false;
  if (!settings.key_mask.data.empty() && settings.key_mask[b * S + s] == 0) return false;
  const Array& segments = settings.segments;
  return segments.data.empty() || segments[b * S + position] == segments[b * S + s];
}

/// out[t] = Σ_s p[s] v[s] with p = softmax over the keys that query t sees of scale · q[t] · k[s];
/// zeros when it sees none. Keys that it does not see are not read. q [B,T,H,Dh], k and v
/// [B,S,Hkv,Dh]; query head h uses key head h · Hkv / H.
inline Array attention_ref(const Array& q, const Array& k, const Array& v,
                           const AttentionSettings& settings) {
  const std::int64_t T = q.dim(1);
  const std::int64_t H = q.dim(2);
  const std::int64_t Dh = q.dim(3);
  const std::int64_t S = k.dim(1);
  const std::int64_t Hkv = k.dim(2);
  Array out(q.shape);
  std::vector<double> score(static_cast<std::size_t>(S));
  std::vector<std::int64_t> seen;
  for (std::int64_t row = 0; row < q.dim(0) * T * H; ++row) {  // row = (b · T + t) · H + h
    const std::int64_t b = row / (T * H);
    const std::int64_t t = row / H % T;
    const auto key = [&](std::int64_t s) { return ((b * S + s) * Hkv + row % H * Hkv / H) * Dh; };
    seen.clear();
    double max = -std::numeric_limits<double>::infinity();
    for (std::int64_t s = 0; s < S; ++s) {
      if (!attention_sees(settings, b, t, T, s, S)) continue;
      double dot = 0;
      for (std::int64_t d = 0; d < Dh; ++d) dot += q[row * Dh + d] * k[key(s) + d];
      score[static_cast<std::size_t>(s)] = settings.scale * dot;
      max = std::max(max, settings.scale * dot);
      seen.push_back(s);
    }
    double sum = 0;
    for (const std::int64_t s : seen) sum += std::exp(score[static_cast<std::size_t>(s)] - max);
    for (const std::int64_t s : seen) {
      const double p = std::exp(score[static_cast<std::size_t>(s)] - max) / sum;
      for (std::int64_t d = 0; d < Dh; ++d) out[row * Dh + d] += p * v[key(s) + d];
    }
  }
  return out;
}

/// attention_ref() of |v|: what the elements of its result are sums of.
inline Array attention_magnitude(const Array& q, const Array& k, const Array& v,
                                 const AttentionSettings& settings) {
  Array absolute = v;
  for (double& value : absolute.data) value = std::abs(value);
  return attention_ref(q, k, absolute, settings);
}

}  // namespace wick::reference
