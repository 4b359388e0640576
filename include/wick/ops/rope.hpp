#pragma once

#include <cstdint>

#include "wick/tensor/tensor.hpp"

namespace wick {

/// How the frequencies of a rotary embedding are stretched for longer contexts: the "rope_type" of a
/// checkpoint's config.json.
enum class RopeScaling { kDefault, kLinear, kLlama3, kYarn };

/// A checkpoint's rotary embedding, in the words of its config.json.
struct RopeOptions {
  std::int64_t rotary_dim = 0;  ///< how many elements of a head are rotated: even and positive
  double rope_theta = 10000;
  RopeScaling scaling = RopeScaling::kDefault;
  double factor = 1;                               ///< linear, llama3, yarn
  double low_freq_factor = 1;                      ///< llama3
  double high_freq_factor = 4;                     ///< llama3
  double original_max_position_embeddings = 8192;  ///< llama3, yarn
  double beta_fast = 32;                           ///< yarn
  double beta_slow = 1;                            ///< yarn
  double attention_factor = 0;  ///< yarn; 0 means 0.1 ln(factor) + 1 (1 when factor <= 1)
  bool truncate = true;         ///< yarn: round the borders of the ramp to whole dimensions
};

/// What rope() needs of RopeOptions; made once for a model.
struct RopeFrequencies {
  Tensor inv_freq;              ///< [rotary_dim / 2] f32
  double attention_factor = 1;  ///< multiplies the rotated elements
};

/// The angular frequencies of a rotary embedding, computed in double but for what transformers rounds to f32:
/// theta's power and its inverse. Models were trained with these.
///
/// Shapes: inv_freq [rotary_dim / 2].
/// Dtypes: f32.
/// Errors: kArgument for an odd or non-positive rotary_dim, a theta, factor or other number that is not
///   positive and finite, and high_freq_factor <= low_freq_factor.
/// Gradient: none.
/// Source: Su et al. 2021, https://arxiv.org/abs/2104.09864; Peng et al. 2023 (YaRN),
///   https://arxiv.org/abs/2309.00071; transformers, modeling_rope_utils (linear, llama3)
RopeFrequencies rope_frequencies(const RopeOptions& options, Device device = kCpuDevice);

/// Rotary position embedding, half-split: with P = rotary_dim / 2 and angle φ = position · inv_freq[i],
/// out[i] = f (x[i] cos φ − x[i + P] sin φ), out[i + P] = f (x[i + P] cos φ + x[i] sin φ) for i < P, where f is the
/// attention factor; elements from 2P on are copied.
///
/// Shapes: x [B,T,H,Dh] with Dh >= rotary_dim; positions [B,T] or [T]; out as x.
/// Dtypes: x f32, f16 or bf16; positions i32 or i64; out as x. φ is rounded to
///   f32, as in transformers, and reduced in double; the rotation is computed in f32.
/// Errors: kShape, kDtype, kDevice.
/// Gradient: x.
/// Source: Su et al. 2021, https://arxiv.org/abs/2104.09864
Tensor rope(const Tensor& x, const Tensor& positions, const RopeFrequencies& frequencies);

/// A layer's queries and keys, rotated.
struct RotatedPair {
  Tensor q, k;
};

/// rope() of queries and keys at once, on CUDA in one launch.
///
/// Shapes: q [B,T,H,Dh] and k [B,T,Hkv,Dh] with Dh >= rotary_dim; positions [B,T] or [T]; results as q and k.
/// Dtypes: q and k f32, f16 or bf16, both the same; the rest as above.
/// Errors: kShape, kDtype, kDevice.
/// Gradient: q, k.
/// Source: Su et al. 2021, https://arxiv.org/abs/2104.09864
RotatedPair rope(const Tensor& q, const Tensor& k, const Tensor& positions,
                 const RopeFrequencies& frequencies);

}  // namespace wick
