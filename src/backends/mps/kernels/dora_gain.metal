#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/dora_gain_kargs.hpp"
#include "backends/mps/kernels/rows.metal"
#include "backends/mps/kernels/squares.metal"

using namespace wick::mps;

constant uint kWeightType [[function_constant(1)]];   // of w
constant uint kAdapterType [[function_constant(2)]];  // of a and b

// The length of each row of w + scale · b a, and magnitude over it. Nothing of w's size is made: a thread computes the
// elements of the update that it needs.
kernel void dora_gain(device const float* magnitude [[buffer(0)]],
                      device const uchar* w [[buffer(1)]], device const uchar* a [[buffer(2)]],
                      device const uchar* b [[buffer(3)]], device float* out [[buffer(4)]],
                      device float* norm [[buffer(5)]], constant DoraGainKargs& args [[buffer(6)]],
                      uint group [[threadgroup_position_in_grid]],
                      uint simd [[simdgroup_index_in_threadgroup]],
                      uint simds [[simdgroups_per_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float room[kMostRowSimds];
  const RowPlace place = row_place(args.plan, group, simd, simds, lane);
  if (place.row >= ulong(args.plan.rows)) return;
  const ulong columns = ulong(args.plan.columns);
  const ulong rank = ulong(args.rank);
  float3 own = float3(0.0f, 0.0f, 0.0f);
  for (ulong k = place.first; k < columns; k += place.step) {
    float update = 0.0f;
    for (ulong r = 0; r < rank; ++r) {
      update = fma(load_float(b, place.row * rank + r, kAdapterType),
                   load_float(a, r * columns + k, kAdapterType), update);
    }
    const float base = load_float(w, place.row * ulong(args.w_stride) + k, kWeightType);
    add_square(own, fma(args.scale, update, base));
  }
  own.x = row_sum(own.x, place, room);
  own.y = row_sum(own.y, place, room);
  own.z = row_sum(own.z, place, room);
  if (place.first != 0u) return;
  const float length = root_of_squares(own);
  out[place.row] = length == 0.0f ? 0.0f : magnitude[place.row] / length;
  if (args.wants_norm != 0) norm[place.row] = length;
}

// dmagnitude[n] = dy[n] / norm[n], or 0.
kernel void dora_gain_backward(device const float* dy [[buffer(0)]],
                               device const float* norm [[buffer(1)]],
                               device float* dmagnitude [[buffer(2)]],
                               constant DoraGainBackwardKargs& args [[buffer(3)]],
                               uint thread_index [[thread_position_in_grid]],
                               uint threads [[threads_per_grid]]) {
  for (ulong i = thread_index; i < ulong(args.numel); i += threads) {
    dmagnitude[i] = norm[i] == 0.0f ? 0.0f : dy[i] / norm[i];
  }
}
