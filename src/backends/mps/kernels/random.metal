#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/philox.metal"
#include "backends/mps/kernels/random_kargs.hpp"

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];

// A thread makes the four elements of a counter.
kernel void random_uniform(device uchar* out [[buffer(0)]],
                           device const long* offset_base [[buffer(1)]],
                           constant UniformKargs& args [[buffer(2)]],
                           uint thread_index [[thread_position_in_grid]],
                           uint threads [[threads_per_grid]]) {
  const ulong n = ulong(args.numel);
  for (ulong counter = thread_index; counter * 4 < n; counter += threads) {
    const uint4 words = philox_words(args.key, offset_base, counter);
    for (uint k = 0; k < 4 && counter * 4 + k < n; ++k) {
      const float step = args.width * (float(uniform_bits(words[k])) * 0x1p-24f);
      const float value = round_to_type(args.low + step, kDType);
      store_float(out, counter * 4 + k, kDType, min(value, args.last));
    }
  }
}

// The cosine and sine of 2π · turn, whose quarter is taken exactly.
inline float2 cosine_and_sine(float turn) {
  const float quarters = turn * 4.0f;
  const float quarter = rint(quarters);
  const float angle = (quarters - quarter) * 1.57079632679489661923f;
  const float c = precise::cos(angle);
  const float s = precise::sin(angle);
  const uint which = uint(quarter) & 3u;
  if (which == 0u) return float2(c, s);
  if (which == 1u) return float2(-s, c);
  if (which == 2u) return float2(-c, -s);
  return float2(s, -c);
}

// Box and Muller.
kernel void random_normal(device uchar* out [[buffer(0)]],
                          device const long* offset_base [[buffer(1)]],
                          constant NormalKargs& args [[buffer(2)]],
                          uint thread_index [[thread_position_in_grid]],
                          uint threads [[threads_per_grid]]) {
  const ulong n = ulong(args.numel);
  for (ulong counter = thread_index; counter * 4 < n; counter += threads) {
    const uint4 words = philox_words(args.key, offset_base, counter);
    for (uint k = 0; k < 4; k += 2) {
      const float above_0 = float(uniform_bits(words[k]) + 1u) * 0x1p-24f;
      const float turn = float(uniform_bits(words[k + 1])) * 0x1p-24f;
      const float2 pair = precise::sqrt(-2.0f * precise::log(above_0)) * cosine_and_sine(turn);
      for (uint j = 0; j < 2 && counter * 4 + k + j < n; ++j) {
        store_float(out, counter * 4 + k + j, kDType, args.mean + args.deviation * pair[j]);
      }
    }
  }
}

// out = x · keep / (1 − p).
kernel void dropout(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                    device const long* offset_base [[buffer(2)]],
                    constant DropoutKargs& args [[buffer(3)]],
                    uint thread_index [[thread_position_in_grid]],
                    uint threads [[threads_per_grid]]) {
  const ulong n = ulong(args.numel);
  for (ulong counter = thread_index; counter * 4 < n; counter += threads) {
    const uint4 words = philox_words(args.key, offset_base, counter);
    for (uint k = 0; k < 4 && counter * 4 + k < n; ++k) {
      const ulong i = counter * 4 + k;
      store_float(out, i, kDType, kept(args.rule, words[k], load_float(x, i, kDType)));
    }
  }
}

// out += what dropout leaves of the update, by the same numbers: the gradient of an adapter's input.
kernel void dropout_add(device const float* update [[buffer(0)]], device uchar* out [[buffer(1)]],
                        device const long* offset_base [[buffer(2)]],
                        constant DropoutKargs& args [[buffer(3)]],
                        uint thread_index [[thread_position_in_grid]],
                        uint threads [[threads_per_grid]]) {
  const ulong n = ulong(args.numel);
  for (ulong counter = thread_index; counter * 4 < n; counter += threads) {
    const uint4 words = philox_words(args.key, offset_base, counter);
    for (uint k = 0; k < 4 && counter * 4 + k < n; ++k) {
      const ulong i = counter * 4 + k;
      store_float(out, i, kDType,
                  load_float(out, i, kDType) + kept(args.rule, words[k], update[i]));
    }
  }
}
