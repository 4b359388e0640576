#include "backends/mps/kernels/activation_kargs.hpp"
#include "backends/mps/kernels/common.metal"

using namespace wick::mps;

constant uint kActivation [[function_constant(0)]];  // an Activation
constant uint kDType [[function_constant(1)]];       // of all operands

// The formulas and limits are those of the CPU.

// v limited to [-limit, limit]; NaN stays.
inline float limited(float v, float limit) {
  const float from_above = v > limit ? limit : v;
  return v < -limit ? -limit : from_above;
}

// x · gate for gate in [0, 1] that vanishes below −limit: x = −∞ gives 0.
inline float gated(float x, float gate, float limit) { return (x < -limit ? -limit : x) * gate; }

// σ(y) and 1 − σ(y), each to full relative accuracy: e^−|y| never overflows and nothing cancels.
struct SigmoidPair {
  float sigmoid;
  float rest;
};
inline SigmoidPair sigmoid_pair(float y) {
  const float z = exp(-fabs(y));
  const float larger = 1.0f / (1.0f + z);
  const float smaller = z * larger;
  SigmoidPair pair;
  pair.sigmoid = y >= 0.0f ? larger : smaller;
  pair.rest = y >= 0.0f ? smaller : larger;
  return pair;
}

// e^−128 is 0 in f32, so beyond this silu is x or 0, and its derivative 1 or 0.
constant constexpr float kSiluLimit = 128.0f;

inline float silu_value(float x) { return gated(x, sigmoid_pair(x).sigmoid, kSiluLimit); }
// σ (1 + x (1 − σ))
inline float silu_derivative(float x) {
  const SigmoidPair p = sigmoid_pair(x);
  return p.sigmoid * fma(limited(x, kSiluLimit), p.rest, 1.0f);
}

// Beyond this, the normal distribution's tail and the tanh formula's are 0 in f32.
constant constexpr float kGeluLimit = 15.0f;

// Φ(x) and e^(−x²/2) for |x| <= kGeluLimit.
struct Normal {
  float distribution;
  float bell;
};

// Near 0, Φ = ½ + x P(x²); further out, Φ(−a) = e^(−a²/2) Q(u) with u = 1 / (1 + a/2), which keeps the tail's relative
// accuracy. The polynomials' relative errors are 1e-8 and 2e-8.
inline Normal normal_distribution(float x) {
  const float a = fabs(x);
  const float square = a * a;
  const float rounding = fma(a, a, -square);  // what a fused product shows was lost
  const float rounded_bell = exp(-0.5f * square);
  const float bell = fma(-rounded_bell, 0.5f * rounding, rounded_bell);

  float center = -6.82239678e-6f;
  center = fma(center, square, 0.000111092028f);
  center = fma(center, square, -0.00118390762f);
  center = fma(center, square, 0.00997232271f);
  center = fma(center, square, -0.0664902159f);
  center = fma(center, square, 0.398942277f);

  const float u = 1.0f / fma(a, 0.5f, 1.0f);
  float tail = -0.143158754f;
  tail = fma(tail, u, 0.413585087f);
  tail = fma(tail, u, -0.382875367f);
  tail = fma(tail, u, 0.0292463892f);
  tail = fma(tail, u, 0.031068782f);
  tail = fma(tail, u, 0.151926426f);
  tail = fma(tail, u, 0.199312345f);
  tail = fma(tail, u, 0.199475744f);
  const float below = tail * u * bell;
  const float far = x < 0.0f ? below : 1.0f - below;
  Normal normal;
  normal.distribution = a < 1.25f ? fma(x, center, 0.5f) : far;
  normal.bell = bell;
  return normal;
}

// x Φ(x)
inline float gelu_erf_value(float x) {
  return gated(x, normal_distribution(limited(x, kGeluLimit)).distribution, kGeluLimit);
}
// Φ(x) + x φ(x)
inline float gelu_erf_derivative(float x) {
  const float near = limited(x, kGeluLimit);
  const Normal normal = normal_distribution(near);
  return fma(near * 0.398942280401432678f, normal.bell, normal.distribution);
}

// ½ x (1 + tanh y) = x σ(2y) with 2y = x (c + d x²)
constant constexpr float kTwiceRoot = 1.59576912160573071f;  // c = 2 √(2/π)
constant constexpr float kCubic = 0.0713548162726009f;       // d = 0.044715 c

inline float gelu_tanh_value(float x) {
  const float near = limited(x, kGeluLimit);
  const float argument = near * fma(near * near, kCubic, kTwiceRoot);
  return gated(x, sigmoid_pair(argument).sigmoid, kGeluLimit);
}
// σ (1 + x (1 − σ) (c + 3 d x²))
inline float gelu_tanh_derivative(float x) {
  const float near = limited(x, kGeluLimit);
  const SigmoidPair p = sigmoid_pair(near * fma(near * near, kCubic, kTwiceRoot));
  const float slope = fma(near * near, 3.0f * kCubic, kTwiceRoot);
  return p.sigmoid * fma(near * p.rest, slope, 1.0f);
}

inline float activation_value(float x) {
  if (kActivation == kActivationSilu) return silu_value(x);
  if (kActivation == kActivationGeluErf) return gelu_erf_value(x);
  return gelu_tanh_value(x);
}
inline float activation_derivative(float x) {
  if (kActivation == kActivationSilu) return silu_derivative(x);
  if (kActivation == kActivationGeluErf) return gelu_erf_derivative(x);
  return gelu_tanh_derivative(x);
}

// out[i] = f(x[i]); a thread owns elements i, i + grid, …
kernel void activation(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                       constant ActivationKargs& args [[buffer(2)]],
                       uint thread_index [[thread_position_in_grid]],
                       uint threads [[threads_per_grid]]) {
  for (ulong i = thread_index; i < ulong(args.numel); i += threads) {
    store_float(out, i, kDType, activation_value(load_float(x, i, kDType)));
  }
}

// dx[i] = dy[i] · f'(x[i]).
kernel void activation_backward(device const uchar* dy [[buffer(0)]],
                                device const uchar* x [[buffer(1)]], device uchar* dx [[buffer(2)]],
                                constant ActivationKargs& args [[buffer(3)]],
                                uint thread_index [[thread_position_in_grid]],
                                uint threads [[threads_per_grid]]) {
  for (ulong i = thread_index; i < ulong(args.numel); i += threads) {
    const float slope = activation_derivative(load_float(x, i, kDType));
    store_float(dx, i, kDType, load_float(dy, i, kDType) * slope);
  }
}

// out = silu(gate) · up; gate and up [R,F] with rows apart, out dense. A thread of the grid [F,R] owns one element.
kernel void swiglu(device const uchar* gate [[buffer(0)]], device const uchar* up [[buffer(1)]],
                   device uchar* out [[buffer(2)]], constant SwigluKargs& args [[buffer(3)]],
                   uint2 at [[thread_position_in_grid]], uint2 grid [[threads_per_grid]]) {
  const float g = load_float(gate, ulong(at.y) * ulong(args.gate_stride) + at.x, kDType);
  const float u = load_float(up, ulong(at.y) * ulong(args.up_stride) + at.x, kDType);
  store_float(out, ulong(at.y) * grid.x + at.x, kDType, silu_value(g) * u);
}

constant uint kWantsGate [[function_constant(2)]];
constant uint kWantsUp [[function_constant(3)]];

// dgate = dy · up · silu'(gate), dup = dy · silu(gate), as above.
kernel void swiglu_backward(device const uchar* dy [[buffer(0)]],
                            device const uchar* gate [[buffer(1)]],
                            device const uchar* up [[buffer(2)]], device uchar* dgate [[buffer(3)]],
                            device uchar* dup [[buffer(4)]],
                            constant SwigluKargs& args [[buffer(5)]],
                            uint2 at [[thread_position_in_grid]], uint2 grid [[threads_per_grid]]) {
  const ulong i = ulong(at.y) * grid.x + at.x;
  const float g = load_float(gate, ulong(at.y) * ulong(args.gate_stride) + at.x, kDType);
  const float u = load_float(up, ulong(at.y) * ulong(args.up_stride) + at.x, kDType);
  const float slope = load_float(dy, i, kDType);
  if (kWantsGate != 0) store_float(dgate, i, kDType, slope * u * silu_derivative(g));
  if (kWantsUp != 0) store_float(dup, i, kDType, slope * silu_value(g));
}
