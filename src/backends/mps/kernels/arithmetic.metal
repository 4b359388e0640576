#include "backends/mps/kernels/arithmetic_kargs.hpp"
#include "backends/mps/kernels/common.metal"

using namespace wick::mps;

constant uint kOp [[function_constant(0)]];     // a BinaryOp
constant uint kDType [[function_constant(1)]];  // of all operands

inline float combine(float a, float b) {
  if (kOp == kBinaryAdd) return a + b;
  if (kOp == kBinarySub) return a - b;
  return a * b;
}

// Integers wrap around.
inline long combine_integers(long a, long b) {
  const ulong x = ulong(a);
  const ulong y = ulong(b);
  if (kOp == kBinaryAdd) return long(x + y);
  if (kOp == kBinarySub) return long(x - y);
  return long(x * y);
}

// out[i] = a[i] ∘ b[i]; a thread owns elements i, i + grid, …
kernel void binary(device const uchar* a [[buffer(0)]], device const uchar* b [[buffer(1)]],
                   device uchar* out [[buffer(2)]], constant Loops<3>& loops [[buffer(3)]],
                   uint thread_index [[thread_position_in_grid]],
                   uint threads [[threads_per_grid]]) {
  for (ulong i = thread_index; i < ulong(loops.numel); i += threads) {
    long at[3];
    loop_offsets<3>(loops, i, at);
    if (is_integer_type(kDType)) {
      const long value = combine_integers(load_integer(a, ulong(at[0]), kDType),
                                          load_integer(b, ulong(at[1]), kDType));
      store_integer(out, ulong(at[2]), kDType, value);
    } else {
      const float value =
          combine(load_float(a, ulong(at[0]), kDType), load_float(b, ulong(at[1]), kDType));
      store_float(out, ulong(at[2]), kDType, value);
    }
  }
}

// out[i] = factor · factor_tensor · x[i].
kernel void scale(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                  device const float* factor_tensor [[buffer(2)]],
                  constant ScaleKargs& args [[buffer(3)]],
                  uint thread_index [[thread_position_in_grid]],
                  uint threads [[threads_per_grid]]) {
  const float factor = args.has_tensor != 0 ? args.factor * factor_tensor[0] : args.factor;
  for (ulong i = thread_index; i < ulong(args.numel); i += threads) {
    store_float(out, i, kDType, factor * load_float(x, i, kDType));
  }
}
