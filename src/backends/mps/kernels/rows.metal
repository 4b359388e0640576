#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/rows_kargs.hpp"

// Kernels in which one or more simdgroups of a threadgroup own a row.

// Elements of a row that each thread keeps, at most kMostHeld; 0: rows are too long for that and are read again.
constant uint kHeld [[function_constant(0)]];

constant constexpr uint kMostRowSimds = 8;
constant constexpr uint kMostHeld = 16;

// Where a thread stands: its row, and the columns first, first + step, … of it.
struct RowPlace {
  ulong row;
  uint first;
  uint step;
  uint simds;  // of the row
  uint simd;   // of the thread, among them
  uint lane;
};

inline RowPlace row_place(constant wick::mps::RowPlan& plan, uint group, uint simd, uint simds,
                          uint lane) {
  RowPlace place;
  const bool shared = plan.simds > 1;
  place.row = shared ? ulong(group) : ulong(group) * simds + simd;
  place.simds = uint(plan.simds);
  place.simd = shared ? simd : 0u;
  place.lane = lane;
  place.first = place.simd * 32u + lane;
  place.step = place.simds * 32u;
  return place;
}

// How often a thread steps through the columns of its row, `column(place, n)` being the n-th of them.
inline uint row_steps(RowPlace place, ulong columns) {
  return kHeld != 0u ? kHeld : uint((columns + place.step - 1) / place.step);
}
inline ulong column(RowPlace place, uint n) { return ulong(place.first) + ulong(n) * place.step; }

// The elements of a row that a thread keeps.
struct HeldRow {
  float values[kMostHeld];
};

inline void hold_row(thread HeldRow& held, device const uchar* x, ulong from, ulong columns,
                     RowPlace place, uint dtype, float fill) {
  for (uint n = 0; n < kHeld; ++n) {
    const ulong c = column(place, n);
    held.values[n] = c < columns ? load_float(x, from + c, dtype) : fill;
  }
}

// The n-th element of a thread, kept or from memory.
inline float row_value(thread HeldRow& held, uint n, device const uchar* x, ulong at, uint dtype) {
  return kHeld != 0u ? held.values[n] : load_float(x, at, dtype);
}

// Σ value over the threads of a row, for all of them. `room` has kMostRowSimds numbers.
inline float row_sum(float value, RowPlace place, threadgroup float* room) {
  value = simd_sum(value);
  if (place.simds == 1u) return value;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // the last result has been read
  if (place.lane == 0u) room[place.simd] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float total = 0.0f;
  for (uint i = 0; i < place.simds; ++i) total += room[i];
  return total;
}

// The largest value of a row; NaN gives way to numbers.
inline float row_max(float value, RowPlace place, threadgroup float* room) {
  value = simd_max(value);
  if (place.simds == 1u) return value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (place.lane == 0u) room[place.simd] = value;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float most = room[0];
  for (uint i = 1; i < place.simds; ++i) most = max(most, room[i]);
  return most;
}

// Σ exp(x − max) of the numbers that a thread has seen, with the largest of them.
struct ExponentialSum {
  float most;
  float sum;
};

inline ExponentialSum no_exponentials() {
  ExponentialSum none;
  none.most = -INFINITY;
  none.sum = 0.0f;
  return none;
}

// NaN stays in the sum; −∞ adds nothing.
inline void add_exponential(thread ExponentialSum& total, float x) {
  if (x > total.most) {
    total.sum = fma(total.sum, exp(total.most - x), 1.0f);
    total.most = x;
  } else if (x != -INFINITY) {
    total.sum += exp(x - total.most);
  }
}

// What to subtract before the exponential: 0 for a row that is −∞ throughout.
inline float exponent_base(float most) { return most == -INFINITY ? 0.0f : most; }

// The same over a whole row.
inline ExponentialSum row_exponentials(ExponentialSum own, RowPlace place,
                                       threadgroup float* room) {
  ExponentialSum all;
  all.most = row_max(own.most, place, room);
  all.sum = row_sum(own.sum * exp(own.most - exponent_base(all.most)), place, room);
  if (all.most == INFINITY) all.sum = NAN;  // ∞ − ∞
  return all;
}

// The same of a row that is kept, with −∞ behind its end.
inline ExponentialSum held_exponentials(thread HeldRow& held, RowPlace place,
                                        threadgroup float* room) {
  ExponentialSum all = no_exponentials();
  for (uint n = 0; n < kHeld; ++n) all.most = max(all.most, held.values[n]);
  all.most = row_max(all.most, place, room);
  const float base = exponent_base(all.most);
  for (uint n = 0; n < kHeld; ++n) all.sum += exp(held.values[n] - base);
  all.sum = row_sum(all.sum, place, room);
  return all;
}
