#include "backends/mps/fault.hpp"
#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/select_kargs.hpp"

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];

// Values in their order, as unsigned numbers: every NaN is the largest, and −0 is 0.
inline ulong rank_of(device const uchar* x, ulong i) {
  if (is_integer_type(kDType)) return ulong(load_integer(x, i, kDType)) ^ 0x8000000000000000ul;
  const float value = load_float(x, i, kDType);
  if (isnan(value)) return 0xFFFFFFFFul;
  if (value == 0.0f) return 0x80000000ul;
  const uint bits = as_type<uint>(value);
  return ulong((bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u);
}

inline void copy_element(device const uchar* x, ulong from, device uchar* out, ulong to) {
  if (kDType == kI64) {
    ((device long*)out)[to] = ((device const long*)x)[from];
  } else if (kDType == kF32 || kDType == kI32) {
    ((device uint*)out)[to] = ((device const uint*)x)[from];
  } else {
    ((device ushort*)out)[to] = ((device const ushort*)x)[from];
  }
}

// Whether (rank, index) comes before (other_rank, other_index): larger, or equal and earlier. An index of −1 is nothing.
inline bool comes_before(ulong rank, long index, ulong other_rank, long other_index) {
  if (index < 0) return false;
  return other_index < 0 || rank > other_rank || (rank == other_rank && index < other_index);
}

// The K largest of a row, one after the other: each is the first in the order of those that come after the last. A
// threadgroup of 64 searches one row.
kernel void select_largest(device const uchar* x [[buffer(0)]], device long* indices [[buffer(1)]],
                           device uchar* values [[buffer(2)]],
                           constant SelectKargs& args [[buffer(3)]],
                           uint row [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup ulong ranks[64];
  threadgroup long places[64];
  const ulong first = ulong(row) * ulong(args.row_stride);
  ulong last_rank = 0;
  long last_index = -1;
  for (long k = 0; k < args.K; ++k) {
    ulong rank = 0;
    long index = -1;
    for (long d = long(thread_index); d < args.D; d += 64) {
      const ulong candidate = rank_of(x, first + ulong(d) * ulong(args.column_stride));
      if (k > 0 && !comes_before(last_rank, last_index, candidate, d)) continue;
      if (comes_before(candidate, d, rank, index)) {
        rank = candidate;
        index = d;
      }
    }
    ranks[thread_index] = rank;
    places[thread_index] = index;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    // Every thread looks at all, so that all know the winner.
    for (uint i = 0; i < 64; ++i) {
      if (!comes_before(ranks[i], places[i], rank, index)) continue;
      rank = ranks[i];
      index = places[i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    last_rank = rank;
    last_index = index;
    if (thread_index != 0) continue;
    const ulong target = ulong(row) * ulong(args.K) + ulong(k);
    indices[target] = index;
    if (args.has_values != 0)
      copy_element(x, first + ulong(index) * ulong(args.column_stride), values, target);
  }
}

// dx[r,:] = 0, then dx[r, indices[r,k]] += dy[r,k] in the order of k. A threadgroup owns a row.
kernel void scatter_rows(device const uchar* dy [[buffer(0)]],
                         device const long* indices [[buffer(1)]], device uchar* dx [[buffer(2)]],
                         device FaultCell* fault [[buffer(3)]],
                         constant ScatterKargs& args [[buffer(4)]],
                         uint row [[threadgroup_position_in_grid]],
                         uint thread_index [[thread_index_in_threadgroup]],
                         uint threads [[threads_per_threadgroup]]) {
  const ulong start = ulong(row) * ulong(args.D);
  for (ulong d = thread_index; d < ulong(args.D); d += threads)
    store_float(dx, start + d, kDType, 0.0f);
  threadgroup_barrier(mem_flags::mem_device);
  if (thread_index != 0) return;
  for (long k = 0; k < args.K; ++k) {
    const ulong from = ulong(row) * ulong(args.K) + ulong(k);
    const long index = indices[from];
    if (index < 0 || index >= args.D) {
      report_fault(fault, kFaultScatterIndex, long(from), index, args.D);
      continue;
    }
    const ulong to = start + ulong(index);
    store_float(dx, to, kDType, load_float(dx, to, kDType) + load_float(dy, from, kDType));
  }
}
