#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/optimizer_kargs.hpp"
#include "backends/mps/kernels/squares.metal"

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];     // of the parameter or tensor
constant uint kGradType [[function_constant(1)]];  // of its gradient

constant constexpr uint kMostSimds = 8;

// 1 − βᵗ from log β: close to 0 the difference would lose its digits.
inline float one_minus_power(float log_beta, float step) {
  const float x = step * log_beta;
  if (x < -0.5f) return 1.0f - exp(x);
  // −(e^x − 1) by its series; the next term is below 2^-24 of the sum.
  float sum = fma(x, 1.0f / 40320.0f, 1.0f / 5040.0f);
  sum = fma(sum, x, 1.0f / 720.0f);
  sum = fma(sum, x, 1.0f / 120.0f);
  sum = fma(sum, x, 1.0f / 24.0f);
  sum = fma(sum, x, 1.0f / 6.0f);
  sum = fma(sum, x, 0.5f);
  sum = fma(sum, x, 1.0f);
  return -x * sum;
}

// One AdamW step; a thread owns elements i, i + grid, …
kernel void adamw(device uchar* param [[buffer(0)]], device const uchar* grad [[buffer(1)]],
                  device float* first [[buffer(2)]], device float* second [[buffer(3)]],
                  device const float* lr_tensor [[buffer(4)]],
                  device const long* step_tensor [[buffer(5)]],
                  constant AdamwKargs& args [[buffer(6)]],
                  uint thread_index [[thread_position_in_grid]],
                  uint threads [[threads_per_grid]]) {
  float corrected_lr = args.corrected_lr;
  float inverse_correction_2 = args.inverse_correction_2;
  float lr = args.lr;
  if (args.has_lr != 0 || args.has_step != 0) {
    lr = args.has_lr != 0 ? lr_tensor[0] : args.lr;
    const float step = args.has_step != 0 ? float(step_tensor[0]) : args.step;
    corrected_lr = lr / one_minus_power(args.log_beta1, step);
    inverse_correction_2 = 1.0f / one_minus_power(args.log_beta2, step);
  }
  const float decay = lr * args.weight_decay;
  for (ulong i = thread_index; i < ulong(args.numel); i += threads) {
    const float g = load_float(grad, i, kGradType);
    const float p = load_float(param, i, kDType);
    const float m = fma(first[i], args.beta1, g * args.one_minus_beta1);
    const float v = fma(second[i], args.beta2, g * g * args.one_minus_beta2);
    first[i] = m;
    second[i] = v;
    const float root = sqrt(v * inverse_correction_2);
    const float change = fma(m / (root + args.eps), corrected_lr, p * decay);
    store_float(param, i, kDType, p - change);
  }
}

// The squares of a piece of a tensor, one result a threadgroup.
kernel void squares(device const uchar* x [[buffer(0)]], device float3* sums [[buffer(1)]],
                    constant SquaresKargs& args [[buffer(2)]],
                    uint group [[threadgroup_position_in_grid]],
                    uint thread_index [[thread_index_in_threadgroup]],
                    uint threads [[threads_per_threadgroup]],
                    uint simd [[simdgroup_index_in_threadgroup]],
                    uint simds [[simdgroups_per_threadgroup]],
                    uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float3 parts[kMostSimds];
  const ulong begin = ulong(group) * ulong(args.elements_each);
  const ulong end = min(begin + ulong(args.elements_each), ulong(args.numel));
  float3 own = float3(0.0f, 0.0f, 0.0f);
  for (ulong i = begin + thread_index; i < end; i += threads) {
    add_square(own, load_float(x, i, kDType));
  }
  own = simd_sum(own);
  if (lane == 0u) parts[simd] = own;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index != 0u) return;
  float3 total = parts[0];
  for (uint i = 1; i < simds; ++i) total += parts[i];
  sums[group] = total;
}

// The root of all sums, by one threadgroup.
kernel void norm_of_squares(
    device const float3* sums [[buffer(0)]], device float* out [[buffer(1)]],
    constant NormOfKargs& args [[buffer(2)]], uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]], uint simd [[simdgroup_index_in_threadgroup]],
    uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float3 parts[kMostSimds];
  float3 own = float3(0.0f, 0.0f, 0.0f);
  for (ulong i = thread_index; i < ulong(args.count); i += threads) own += sums[i];
  own = simd_sum(own);
  if (lane == 0u) parts[simd] = own;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index != 0u) return;
  float3 total = parts[0];
  for (uint i = 1; i < simds; ++i) total += parts[i];
  out[0] = root_of_squares(total);
}

// x ·= min(1, max_norm / (norm + 1e-6)); NaN reaches x.
kernel void clip_by_norm(device uchar* x [[buffer(0)]], device const float* norm [[buffer(1)]],
                         constant ClipKargs& args [[buffer(2)]],
                         uint thread_index [[thread_position_in_grid]],
                         uint threads [[threads_per_grid]]) {
  const float factor = args.max_norm / (norm[0] + 1e-6f);
  if (factor >= 1.0f) return;
  for (ulong i = thread_index; i < ulong(args.numel); i += threads) {
    store_float(x, i, kDType, load_float(x, i, kDType) * factor);
  }
}
