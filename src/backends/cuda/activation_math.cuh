#pragma once

#include "backends/cuda/exponential.cuh"

// Activations of one number and their derivatives, for element type T: what is rounded to 16 bits takes the
// short exponentials and quotients. The formulas and limits are those of the CPU.

namespace wick::cuda {

/// v limited to [-limit, limit]; NaN stays.
__device__ __forceinline__ float limited(float v, float limit) {
  const float from_above = v > limit ? limit : v;
  return v < -limit ? -limit : from_above;
}

/// x · gate for gate in [0, 1] that vanishes below −limit: x = −∞ gives 0.
__device__ __forceinline__ float gated(float x, float gate, float limit) {
  return (x < -limit ? -limit : x) * gate;
}

/// σ(y) and 1 − σ(y), each to full relative accuracy: e^−|y| never overflows and nothing cancels.
struct SigmoidPair {
  float sigmoid;
  float rest;
};

template <class T>
__device__ __forceinline__ SigmoidPair sigmoid_pair(float y) {
  const float z = exponential<T>(-fabsf(y));
  const float larger = reciprocal<T>(1.0F + z);
  const float smaller = z * larger;
  return y >= 0 ? SigmoidPair{larger, smaller} : SigmoidPair{smaller, larger};
}

struct Silu {
  // e^−128 is 0 in f32, so beyond this silu is x or 0, and its derivative 1 or 0.
  static constexpr float kLimit = 128;

  template <class T>
  static __device__ __forceinline__ float value(float x) {
    return gated(x, sigmoid_pair<T>(x).sigmoid, kLimit);
  }

  // σ (1 + x (1 − σ))
  template <class T>
  static __device__ __forceinline__ float derivative(float x) {
    const SigmoidPair p = sigmoid_pair<T>(x);
    return p.sigmoid * fmaf(limited(x, kLimit), p.rest, 1.0F);
  }
};

// Beyond this, the normal distribution's tail and the tanh formula's are 0 in f32.
inline constexpr float kGeluLimit = 15;

/// Φ(x) and e^(−x²/2) for |x| <= kGeluLimit.
struct Normal {
  float distribution;
  float bell;
};

// Near 0, Φ = ½ + x P(x²); further out, Φ(−a) = e^(−a²/2) Q(u) with u = 1 / (1 + a/2), which keeps the
// tail's relative accuracy. The polynomials' relative errors are 1e-8 and 2e-8.
template <class T>
__device__ __forceinline__ Normal normal_distribution(float x) {
  const float a = fabsf(x);
  const float square = a * a;
  const float rounding = fmaf(a, a, -square);  // what a fused product shows was lost
  const float rounded_bell = exponential<T>(-0.5F * square);
  const float bell = fmaf(-rounded_bell, 0.5F * rounding, rounded_bell);

  float center = -6.82239678e-6F;
  center = fmaf(center, square, 0.000111092028F);
  center = fmaf(center, square, -0.00118390762F);
  center = fmaf(center, square, 0.00997232271F);
  center = fmaf(center, square, -0.0664902159F);
  center = fmaf(center, square, 0.398942277F);

  const float u = reciprocal<T>(fmaf(a, 0.5F, 1.0F));
  float tail = -0.143158754F;
  tail = fmaf(tail, u, 0.413585087F);
  tail = fmaf(tail, u, -0.382875367F);
  tail = fmaf(tail, u, 0.0292463892F);
  tail = fmaf(tail, u, 0.031068782F);
  tail = fmaf(tail, u, 0.151926426F);
  tail = fmaf(tail, u, 0.199312345F);
  tail = fmaf(tail, u, 0.199475744F);
  const float below = tail * u * bell;
  const float far = x < 0 ? below : 1.0F - below;
  return {a < 1.25F ? fmaf(x, center, 0.5F) : far, bell};
}

struct GeluErf {
  // x Φ(x)
  template <class T>
  static __device__ __forceinline__ float value(float x) {
    return gated(x, normal_distribution<T>(limited(x, kGeluLimit)).distribution, kGeluLimit);
  }

  // Φ(x) + x φ(x)
  template <class T>
  static __device__ __forceinline__ float derivative(float x) {
    constexpr float kInverseRootTwoPi = 0.398942280401432678F;
    const float near = limited(x, kGeluLimit);
    const Normal normal = normal_distribution<T>(near);
    return fmaf(near * kInverseRootTwoPi, normal.bell, normal.distribution);
  }
};

// ½ x (1 + tanh y) = x σ(2y) with 2y = x (c + d x²)
struct GeluTanh {
  static constexpr float kTwiceRoot = 1.59576912160573071F;  // c = 2 √(2/π)
  static constexpr float kCubic = 0.0713548162726009F;       // d = 0.044715 c

  static __device__ __forceinline__ float argument(float x) {
    return x * fmaf(x * x, kCubic, kTwiceRoot);
  }

  template <class T>
  static __device__ __forceinline__ float value(float x) {
    return gated(x, sigmoid_pair<T>(argument(limited(x, kGeluLimit))).sigmoid, kGeluLimit);
  }

  // σ (1 + x (1 − σ) (c + 3 d x²))
  template <class T>
  static __device__ __forceinline__ float derivative(float x) {
    const float near = limited(x, kGeluLimit);
    const SigmoidPair p = sigmoid_pair<T>(argument(near));
    const float slope = fmaf(near * near, 3 * kCubic, kTwiceRoot);
    return p.sigmoid * fmaf(near * p.rest, slope, 1.0F);
  }
};

}  // namespace wick::cuda
