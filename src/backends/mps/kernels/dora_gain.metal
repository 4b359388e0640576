#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/dora_gain_kargs.hpp"
#include "backends/mps/kernels/rows.metal"
#include "backends/mps/kernels/squares.metal"

using namespace wick::mps;

constant uint kWeightType [[function_constant(1)]];   // of w
constant uint kAdapterType [[function_constant(2)]];  // of a and b

// Rows of w that a thread works on: what it reads of `a` serves them all.
constant constexpr uint kRowsEach = 4;

struct RowSquares {
  float3 of[kRowsEach];
};

// Adds the squares of column k of w + scale · b a for rows first, first + 1, …
inline void add_column(device const uchar* w, device const uchar* a, device const uchar* b,
                       constant DoraGainKargs& args, ulong first, uint rows, ulong k,
                       thread RowSquares& squares) {
  float update[kRowsEach];
  for (uint j = 0; j < kRowsEach; ++j) update[j] = 0.0f;
  const ulong rank = ulong(args.rank);
  for (ulong r = 0; r < rank; ++r) {
    const float own = load_float(a, r * ulong(args.plan.columns) + k, kAdapterType);
    for (uint j = 0; j < rows; ++j) {
      update[j] = fma(load_float(b, (first + j) * rank + r, kAdapterType), own, update[j]);
    }
  }
  for (uint j = 0; j < rows; ++j) {
    const float base = load_float(w, (first + j) * ulong(args.w_stride) + k, kWeightType);
    add_square(squares.of[j], fma(args.scale, update[j], base));
  }
}

// The length of each row of w + scale · b a, and magnitude over it. A row of the plan is kRowsEach rows of w. Nothing of w's
// size is made: a thread computes the elements of the update that it needs.
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
  const ulong first = place.row * kRowsEach;
  const uint rows = uint(min(ulong(kRowsEach), ulong(args.rows) - first));
  RowSquares squares;
  for (uint j = 0; j < kRowsEach; ++j) squares.of[j] = float3(0.0f, 0.0f, 0.0f);
  for (ulong k = place.first; k < ulong(args.plan.columns); k += place.step) {
    add_column(w, a, b, args, first, rows, k, squares);
  }
  for (uint j = 0; j < rows; ++j) {
    squares.of[j].x = row_sum(squares.of[j].x, place, room);
    squares.of[j].y = row_sum(squares.of[j].y, place, room);
    squares.of[j].z = row_sum(squares.of[j].z, place, room);
    if (place.first != 0u) continue;
    const float length = root_of_squares(squares.of[j]);
    out[first + j] = length == 0.0f ? 0.0f : magnitude[first + j] / length;
    if (args.wants_norm != 0) norm[first + j] = length;
  }
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
