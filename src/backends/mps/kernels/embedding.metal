#include "backends/mps/fault.hpp"
#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/embedding_kargs.hpp"

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];   // of the rows
constant uint kIdType [[function_constant(1)]];  // of the ids

// out[n,:] = weight[ids[n],:]; thread (d, n). An id out of range is reported and gives a row of zeros.
kernel void embedding(device const uchar* weight [[buffer(0)]],
                      device const uchar* ids [[buffer(1)]], device uchar* out [[buffer(2)]],
                      device FaultCell* fault [[buffer(3)]],
                      constant EmbeddingKargs& args [[buffer(4)]],
                      uint2 place [[thread_position_in_grid]]) {
  const long id = load_integer(ids, place.y, kIdType);
  const bool valid = id >= 0 && id < args.V;
  if (!valid && place.x == 0) report_fault(fault, kFaultEmbeddingId, long(place.y), id, args.V);
  const ulong to = ulong(place.y) * ulong(args.D) + place.x;
  const ulong from = valid ? ulong(id) * ulong(args.weight_stride) + place.x : 0;
  if (kDType == kF32) {
    ((device uint*)out)[to] = valid ? ((device const uint*)weight)[from] : 0u;
  } else {
    ((device ushort*)out)[to] = valid ? ((device const ushort*)weight)[from] : ushort(0);
  }
}

// next[n]: the place of the next equal id, 0 where there is none (no place comes after itself); the highest bit is set
// where an equal one came before.
kernel void embedding_link(device const uchar* ids [[buffer(0)]], device uint* next [[buffer(1)]],
                           constant EmbeddingKargs& args [[buffer(2)]],
                           uint n [[thread_position_in_grid]]) {
  const long id = load_integer(ids, n, kIdType);
  uint link = 0;
  for (uint m = 0; m < n; ++m) {
    if (load_integer(ids, m, kIdType) == id) {
      link = 0x80000000u;
      break;
    }
  }
  for (uint m = n + 1; m < uint(args.N); ++m) {
    if (load_integer(ids, m, kIdType) == id) {
      link |= m;
      break;
    }
  }
  next[n] = link;
}

// Thread (d, n) of the first n of an id adds up the rows of all its places, in ascending order.
kernel void embedding_backward(device const uchar* dy [[buffer(0)]],
                               device const uchar* ids [[buffer(1)]],
                               device const uint* next [[buffer(2)]],
                               device uchar* dweight [[buffer(3)]],
                               constant EmbeddingKargs& args [[buffer(4)]],
                               uint2 place [[thread_position_in_grid]]) {
  uint n = place.y;
  if ((next[n] & 0x80000000u) != 0u) return;
  const long id = load_integer(ids, n, kIdType);
  float total = 0.0f;
  for (;;) {
    total += load_float(dy, ulong(n) * ulong(args.D) + place.x, kDType);
    const uint link = next[n] & 0x7FFFFFFFu;
    if (link == 0u) break;
    n = link;
  }
  store_float(dweight, ulong(id) * ulong(args.D) + place.x, kDType, total);
}
