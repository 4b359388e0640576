#include "backends/mps/fault.hpp"
#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/cross_entropy_kargs.hpp"
#include "backends/mps/kernels/rows.metal"

using namespace wick::mps;

constant uint kDType [[function_constant(1)]];       // of the logits
constant uint kTargetType [[function_constant(2)]];  // kI32 or kI64
constant uint kOutType [[function_constant(3)]];     // of dlogits

// (1 − ε)(lse − z[t]) + ε (lse − mean z) from the maximum and Σ exp(z − maximum). Differences from the maximum are taken
// first: lse itself may be large where the loss is small.
inline float loss_of(ExponentialSum total, float target_logit, float logit_sum, float classes,
                     float epsilon) {
  if (total.most == -INFINITY) return INFINITY;  // no class has any probability
  const float log_sum = log(total.sum);
  const float loss = log_sum + (total.most - target_logit);
  if (epsilon == 0.0f) return loss;  // the mean may be −∞, and 0 · ∞ is not 0
  return (1.0f - epsilon) * loss + epsilon * (log_sum + (total.most - logit_sum / classes));
}

// Loss and weight of each row, and its lse. A target out of range is reported and its row counts as ignored.
kernel void cross_entropy_rows(
    device const uchar* logits [[buffer(0)]], device const uchar* targets [[buffer(1)]],
    device const float* weights [[buffer(2)]], device float* lse [[buffer(3)]],
    device float2* rows [[buffer(4)]], device FaultCell* fault [[buffer(5)]],
    constant CrossEntropyKargs& args [[buffer(6)]], uint group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  threadgroup float room[kMostRowSimds];
  const RowPlace place = row_place(args.plan, group, simd, simds, lane);
  if (place.row >= ulong(args.plan.rows)) return;
  const long classes = args.plan.columns;
  const long target = load_integer(targets, place.row, kTargetType);
  const bool outside = target < 0 || target >= classes;
  if (outside || target == args.ignore_index) {
    if (place.first != 0u) return;
    lse[place.row] = 0.0f;
    rows[place.row] = float2(0.0f, 0.0f);
    if (target != args.ignore_index) {
      report_fault(fault, kFaultTarget, args.first_row + long(place.row), target, classes);
    }
    return;
  }
  const ulong from = place.row * ulong(args.stride);
  ExponentialSum total = no_exponentials();
  float logit_sum = 0.0f;
  for (ulong i = place.first; i < ulong(classes); i += place.step) {
    const float z = load_float(logits, from + i, kDType);
    add_exponential(total, z);
    logit_sum += z;
  }
  total = row_exponentials(total, place, room);
  if (args.label_smoothing != 0.0f) logit_sum = row_sum(logit_sum, place, room);
  if (place.first != 0u) return;
  const float weight = args.has_weights != 0 ? weights[place.row] : 1.0f;
  const float loss = loss_of(total, load_float(logits, from + ulong(target), kDType), logit_sum,
                             float(classes), args.label_smoothing);
  lse[place.row] = total.most == -INFINITY ? -INFINITY : total.most + log(total.sum);
  rows[place.row] = float2(weight * loss, weight);
}

// Adds the rows up in a fixed order: each of 256 threads every 256th, then the threads.
kernel void cross_entropy_sums(
    device const float2* rows [[buffer(0)]], device float* loss_sum [[buffer(1)]],
    device float* weight_sum [[buffer(2)]], device float* inv_weight [[buffer(3)]],
    constant LossSumsKargs& args [[buffer(4)]], uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
    uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]]) {
  threadgroup float2 parts[kMostRowSimds];
  float2 own = float2(0.0f, 0.0f);
  for (ulong n = thread_index; n < ulong(args.rows); n += threads) own += rows[n];
  own.x = simd_sum(own.x);
  own.y = simd_sum(own.y);
  if (lane == 0u) parts[simd] = own;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index != 0u) return;
  float2 total = args.accumulate != 0 ? float2(loss_sum[0], weight_sum[0]) : float2(0.0f, 0.0f);
  for (uint i = 0; i < simds; ++i) total += parts[i];
  loss_sum[0] = total.x;
  weight_sum[0] = total.y;
  if (args.has_inverse != 0) inv_weight[0] = total.y == 0.0f ? 0.0f : 1.0f / total.y;
}

// dz = c (exp(z − lse) − (1 − ε) onehot(t) − ε / V). A thread of the grid [V,N] owns one element: dz may be z.
kernel void cross_entropy_backward(
    device const float* dloss [[buffer(0)]], device const float* factor [[buffer(1)]],
    device const uchar* logits [[buffer(2)]], device const uchar* targets [[buffer(3)]],
    device const float* weights [[buffer(4)]], device const float* lse [[buffer(5)]],
    device uchar* dlogits [[buffer(6)]], constant CrossEntropyKargs& args [[buffer(7)]],
    uint2 at [[thread_position_in_grid]]) {
  const ulong row = at.y;
  const long classes = args.plan.columns;
  const long target = load_integer(targets, row, kTargetType);
  float gradient = 0.0f;
  if (target != args.ignore_index && target >= 0 && target < classes) {
    float c = args.has_dloss != 0 ? dloss[0] : 1.0f;
    if (args.has_factor != 0) c *= factor[0];
    if (args.has_weights != 0) c *= weights[row];
    const float all = lse[row];
    const float z = load_float(logits, row * ulong(args.stride) + at.x, kDType);
    // Without any probability the softmax is zero.
    const float probability = all == -INFINITY ? 0.0f : exp(z - all);
    const float share = long(at.x) == target ? 1.0f - args.label_smoothing : 0.0f;
    gradient = c * (probability - share - args.label_smoothing / float(classes));
  }
  store_float(dlogits, row * ulong(classes) + at.x, kOutType, gradient);
}
