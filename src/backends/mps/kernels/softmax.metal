#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/rows.metal"
#include "backends/mps/kernels/softmax_kargs.hpp"

using namespace wick::mps;

constant uint kLog [[function_constant(1)]];    // whether the logarithm is wanted
constant uint kDType [[function_constant(2)]];  // of all operands

// x [R,D] rows apart, out [R,D] dense. A row that is too long to keep is read twice.
kernel void softmax(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                    constant SoftmaxKargs& args [[buffer(2)]],
                    uint group [[threadgroup_position_in_grid]],
                    uint simd [[simdgroup_index_in_threadgroup]],
                    uint simds [[simdgroups_per_threadgroup]],
                    uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float room[kMostRowSimds];
  const RowPlace place = row_place(args.plan, group, simd, simds, lane);
  if (place.row >= ulong(args.plan.rows)) return;
  const ulong columns = ulong(args.plan.columns);
  const ulong from = place.row * ulong(args.x_stride);
  const ulong to = place.row * columns;
  HeldRow held;
  hold_row(held, x, from, columns, place, kDType, -INFINITY);
  ExponentialSum total = no_exponentials();
  if (kHeld != 0u) {
    total = held_exponentials(held, place, room);
  } else {
    for (ulong i = place.first; i < columns; i += place.step) {
      add_exponential(total, load_float(x, from + i, kDType));
    }
    total = row_exponentials(total, place, room);
  }
  const float base = exponent_base(total.most);
  // A row that is −∞ throughout has the sum 0: its elements stay 0 or −∞.
  const float log_sum = total.sum == 0.0f ? 0.0f : log(total.sum);
  const float inverse = total.sum == 0.0f ? 0.0f : 1.0f / total.sum;
  const uint steps = row_steps(place, columns);
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float v = row_value(held, n, x, from + i, kDType) - base;
    store_float(out, to + i, kDType, kLog != 0 ? v - log_sum : exp(v) * inverse);
  }
}

// Sets the results of the rows of x that are −∞ throughout, for which MPS has no rule; most rows are passed over with a look
// at their first element. x [R,D] rows apart, out [R,D] dense.
kernel void softmax_dead_rows(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                              constant DeadRowsKargs& args [[buffer(2)]],
                              uint group [[threadgroup_position_in_grid]],
                              uint simd [[simdgroup_index_in_threadgroup]],
                              uint simds [[simdgroups_per_threadgroup]],
                              uint lane [[thread_index_in_simdgroup]]) {
  const RowPlace place = row_place(args.plan, group, simd, simds, lane);
  if (place.row >= ulong(args.plan.rows)) return;
  const ulong columns = ulong(args.plan.columns);
  const ulong from = place.row * ulong(args.x_stride);
  if (load_float(x, from, kDType) != -INFINITY) return;
  float alive = 0.0f;
  for (ulong i = place.first; i < columns; i += place.step) {
    if (load_float(x, from + i, kDType) != -INFINITY) alive = 1.0f;
  }
  if (simd_max(alive) != 0.0f) return;
  for (ulong i = place.first; i < columns; i += place.step) {
    store_float(out, place.row * columns + i, kDType, args.value);
  }
}

// dx = y (dy − Σ dy · y), or of the logarithm dy − exp(y) Σ dy. All [R,D] dense.
kernel void softmax_backward(device const uchar* dy [[buffer(0)]],
                             device const uchar* y [[buffer(1)]], device uchar* dx [[buffer(2)]],
                             constant RowPlan& plan [[buffer(3)]],
                             uint group [[threadgroup_position_in_grid]],
                             uint simd [[simdgroup_index_in_threadgroup]],
                             uint simds [[simdgroups_per_threadgroup]],
                             uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float room[kMostRowSimds];
  const RowPlace place = row_place(plan, group, simd, simds, lane);
  if (place.row >= ulong(plan.rows)) return;
  const ulong columns = ulong(plan.columns);
  const ulong begin = place.row * columns;
  HeldRow slopes;
  HeldRow results;
  hold_row(slopes, dy, begin, columns, place, kDType, 0.0f);
  hold_row(results, y, begin, columns, place, kDType, 0.0f);
  const uint steps = row_steps(place, columns);
  float sum = 0.0f;
  float most = -INFINITY;
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float result = row_value(results, n, y, begin + i, kDType);
    const float slope = row_value(slopes, n, dy, begin + i, kDType);
    sum = fma(slope, kLog != 0 ? 1.0f : result, sum);
    most = max(most, result);
  }
  sum = row_sum(sum, place, room);
  // The row was −∞ throughout.
  const bool dead = kLog != 0 && row_max(most, place, room) == -INFINITY;
  for (uint n = 0; n < steps; ++n) {
    const ulong i = column(place, n);
    if (i >= columns) break;
    const float result = row_value(results, n, y, begin + i, kDType);
    const float slope = row_value(slopes, n, dy, begin + i, kDType);
    float value = result * (slope - sum);
    if (kLog != 0) value = dead ? 0.0f : fma(-exp(result), sum, slope);
    store_float(dx, begin + i, kDType, value);
  }
}
