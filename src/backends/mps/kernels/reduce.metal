#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/reduce_kargs.hpp"

using namespace wick::mps;

constant uint kDType [[function_constant(0)]];  // of x
constant uint kParts [[function_constant(1)]];  // 1: totals of parts are written, not results

// A float32 sum with its rounding error beside it (Kahan): long sums are as good as the CPU's in float64.
struct Total {
  float sum;
  float error;
};
inline Total no_total() {
  Total none;
  none.sum = 0.0f;
  none.error = 0.0f;
  return none;
}
inline void add_term(thread Total& total, float term) {
  const float sum = total.sum + term;
  // What was lost of the smaller one (Neumaier). An infinite sum has no error.
  const float lost =
      fabs(total.sum) >= fabs(term) ? (total.sum - sum) + term : (term - sum) + total.sum;
  if (isfinite(sum)) total.error += lost;
  total.sum = sum;
}
inline float value_of(Total total) {
  return isfinite(total.sum) ? total.sum + total.error : total.sum;
}

// ---- one thread per output and part: short sums, and columns

inline Total float_terms(device const uchar* x, constant SumKargs& args, long base, ulong begin,
                         ulong end, ulong step) {
  Total total = no_total();
  for (ulong i = begin; i < end; i += step) {
    long at[1];
    loop_offsets<1>(args.reduced, i, at);
    add_term(total, load_float(x, ulong(base + at[0]), kDType));
  }
  return total;
}
inline long integer_terms(device const uchar* x, constant SumKargs& args, long base, ulong begin,
                          ulong end, ulong step) {
  ulong total = 0;
  for (ulong i = begin; i < end; i += step) {
    long at[1];
    loop_offsets<1>(args.reduced, i, at);
    total += ulong(load_integer(x, ulong(base + at[0]), kDType));
  }
  return long(total);
}

inline void write_float(device uchar* out, ulong i, Total total, float factor) {
  if (kParts != 0) {
    ((device float2*)out)[i] = float2(total.sum, total.error);
  } else {
    store_float(out, i, kDType, value_of(total) * factor);
  }
}
inline void write_integer(device uchar* out, ulong i, long total, long factor) {
  ((device long*)out)[i] = kParts != 0 ? total : total * factor;
}

// Thread (output, part).
kernel void sum_by_threads(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                           constant SumKargs& args [[buffer(2)]],
                           uint2 place [[thread_position_in_grid]]) {
  const ulong output = place.x;
  long base[1];
  loop_offsets<1>(args.kept, output, base);
  const ulong begin = ulong(place.y) * ulong(args.terms_per_part);
  const ulong end = min(begin + ulong(args.terms_per_part), ulong(args.reduced.numel));
  const ulong target = output * ulong(args.parts) + place.y;
  if (is_integer_type(kDType)) {
    write_integer(out, target, integer_terms(x, args, base[0], begin, end, 1), args.whole_factor);
  } else {
    write_float(out, target, float_terms(x, args, base[0], begin, end, 1), args.factor);
  }
}

// A threadgroup of 128 per (output, part): its threads take neighbouring terms.
kernel void sum_by_groups(device const uchar* x [[buffer(0)]], device uchar* out [[buffer(1)]],
                          constant SumKargs& args [[buffer(2)]],
                          uint2 place [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float sums[128];
  threadgroup float errors[128];
  threadgroup long integers[128];
  const ulong output = place.x;
  long base[1];
  loop_offsets<1>(args.kept, output, base);
  const ulong begin = ulong(place.y) * ulong(args.terms_per_part);
  const ulong end = min(begin + ulong(args.terms_per_part), ulong(args.reduced.numel));
  if (is_integer_type(kDType)) {
    integers[thread_index] = integer_terms(x, args, base[0], begin + thread_index, end, 128);
  } else {
    const Total own = float_terms(x, args, base[0], begin + thread_index, end, 128);
    sums[thread_index] = own.sum;
    errors[thread_index] = own.error;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index != 0) return;
  const ulong target = output * ulong(args.parts) + place.y;
  if (is_integer_type(kDType)) {
    ulong total = 0;
    for (uint i = 0; i < 128; ++i) total += ulong(integers[i]);
    write_integer(out, target, long(total), args.whole_factor);
    return;
  }
  Total total = no_total();
  for (uint i = 0; i < 128; ++i) {
    add_term(total, sums[i]);
    total.error += errors[i];
  }
  write_float(out, target, total, args.factor);
}

// A thread adds up the parts of an output, in their order.
kernel void sum_finish(device const uchar* partial [[buffer(0)]], device uchar* out [[buffer(1)]],
                       constant FinishSumKargs& args [[buffer(2)]],
                       uint output [[thread_position_in_grid]]) {
  const ulong first = ulong(output) * ulong(args.parts);
  if (is_integer_type(kDType)) {
    ulong total = 0;
    for (int i = 0; i < args.parts; ++i)
      total += ulong(((device const long*)partial)[first + ulong(i)]);
    ((device long*)out)[output] = long(total) * args.whole_factor;
    return;
  }
  Total total = no_total();
  for (int i = 0; i < args.parts; ++i) {
    const float2 part = ((device const float2*)partial)[first + ulong(i)];
    add_term(total, part.x);
    total.error += part.y;
  }
  store_float(out, output, kDType, value_of(total) * args.factor);
}
