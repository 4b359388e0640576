#pragma once

#include "msl_math.hpp"

// Barriers, operations of a simdgroup, matrices of a simdgroup, atomics.

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
inline constexpr mem_flags operator|(mem_flags a, mem_flags b) {
  return static_cast<mem_flags>(static_cast<int>(a) | static_cast<int>(b));
}
inline void threadgroup_barrier(mem_flags, int line = __builtin_LINE()) {
  msl::rt::runtime->barrier(line);
}
inline void simdgroup_barrier(mem_flags, int line = __builtin_LINE()) {
  msl::rt::exchange(0, line);
}

#define MSL_REDUCTION(name, expression)                           \
  template <class T>                                              \
  inline T name(T value, int line = __builtin_LINE()) {           \
    const auto all = msl::rt::exchange(value, line);              \
    bool first = true;                                            \
    T r = value;                                                  \
    for (unsigned lane = 0; lane < msl::rt::kSimdWidth; ++lane) { \
      if (!all.active(lane)) continue;                            \
      const T x = all[lane];                                      \
      r = first ? x : static_cast<T>(expression);                 \
      first = false;                                              \
    }                                                             \
    return r;                                                     \
  }
MSL_REDUCTION(simd_sum, r + x)
MSL_REDUCTION(simd_product, r* x)
MSL_REDUCTION(simd_max, metal::max(r, x))
MSL_REDUCTION(simd_min, metal::min(r, x))
MSL_REDUCTION(simd_and, r& x)
MSL_REDUCTION(simd_or, r | x)
#undef MSL_REDUCTION

inline bool simd_any(bool value, int line = __builtin_LINE()) {
  return simd_or(static_cast<int>(value), line) != 0;
}
inline bool simd_all(bool value, int line = __builtin_LINE()) {
  return simd_and(static_cast<int>(value), line) != 0;
}

template <class T>
inline T simd_prefix_inclusive_sum(T value, int line = __builtin_LINE()) {
  const auto all = msl::rt::exchange(value, line);
  T sum = T(0);
  for (unsigned lane = 0; lane <= all.lanes.lane; ++lane) {
    if (all.active(lane)) sum = static_cast<T>(sum + all[lane]);
  }
  return sum;
}
template <class T>
inline T simd_prefix_exclusive_sum(T value, int line = __builtin_LINE()) {
  return static_cast<T>(simd_prefix_inclusive_sum(value, line) - value);
}

// A lane that took no part gives its reader's own value: on a GPU it would be undefined.
template <class T>
inline T simd_shuffle(T value, ushort lane, int line = __builtin_LINE()) {
  const auto all = msl::rt::exchange(value, line);
  return all.active(lane) ? all[lane] : value;
}
template <class T>
inline T simd_broadcast(T value, ushort lane, int line = __builtin_LINE()) {
  return simd_shuffle(value, lane, line);
}
template <class T>
inline T simd_broadcast_first(T value, int line = __builtin_LINE()) {
  const auto all = msl::rt::exchange(value, line);
  return all[static_cast<unsigned>(std::countr_zero(all.lanes.active))];
}
template <class T>
inline T simd_shuffle_xor(T value, ushort mask, int line = __builtin_LINE()) {
  const auto all = msl::rt::exchange(value, line);
  const unsigned lane = all.lanes.lane ^ mask;
  return all.active(lane) ? all[lane] : value;
}
template <class T>
inline T simd_shuffle_down(T value, ushort delta, int line = __builtin_LINE()) {
  const auto all = msl::rt::exchange(value, line);
  const unsigned lane = all.lanes.lane + delta;
  return all.active(lane) ? all[lane] : value;
}
template <class T>
inline T simd_shuffle_up(T value, ushort delta, int line = __builtin_LINE()) {
  const auto all = msl::rt::exchange(value, line);
  const unsigned lane = all.lanes.lane - delta;
  return all.active(lane) ? all[lane] : value;
}

// ---- 8x8 matrices spread over a simdgroup: each lane holds two neighbours of a row, in the layout of Apple's GPUs
template <class T, int Columns, int Rows>
struct simdgroup_matrix {
  static_assert(Columns == 8 && Rows == 8, "only 8x8");
  T elements[2];

  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T diagonal) {
    for (unsigned i = 0; i < 2; ++i) elements[i] = row() == column() + i ? diagonal : T(0);
  }
  T (&thread_elements())[2] { return elements; }

  static unsigned row() { return row_of(msl::rt::runtime->lane()); }
  static unsigned column() { return column_of(msl::rt::runtime->lane()); }
  static constexpr unsigned row_of(unsigned lane) { return ((lane / 4) & 4) + (lane / 2) % 4; }
  static constexpr unsigned column_of(unsigned lane) {
    return ((lane / 4) & 2) * 2 + (lane % 2) * 2;
  }
  static constexpr unsigned lane_of(unsigned row, unsigned column) {
    return (row & 4) * 4 + ((column & 4) / 2) * 4 + (row & 3) * 2 + (column / 2) % 2;
  }
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int C, int R>
inline simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, C, R> m;
  m.elements[0] = m.elements[1] = value;
  return m;
}
template <class T, class P>
inline void simdgroup_load(simdgroup_matrix<T, 8, 8>& m, P source, ulong elements_per_row = 8,
                           ulong2 origin = 0, bool transpose = false) {
  using M = simdgroup_matrix<T, 8, 8>;
  for (unsigned i = 0; i < 2; ++i) {
    const ulong row = transpose ? M::column() + i : M::row();
    const ulong column = transpose ? M::row() : M::column() + i;
    m.elements[i] = source[(row + origin.y) * elements_per_row + column + origin.x];
  }
}
template <class T, class P>
inline void simdgroup_store(const simdgroup_matrix<T, 8, 8>& m, P target,
                            ulong elements_per_row = 8, ulong2 origin = 0, bool transpose = false) {
  using M = simdgroup_matrix<T, 8, 8>;
  for (unsigned i = 0; i < 2; ++i) {
    const ulong row = transpose ? M::column() + i : M::row();
    const ulong column = transpose ? M::row() : M::column() + i;
    target[(row + origin.y) * elements_per_row + column + origin.x] = m.elements[i];
  }
}
template <class D, class A, class B, class C>
inline void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                          const simdgroup_matrix<A, 8, 8>& a,
                                          const simdgroup_matrix<B, 8, 8>& b,
                                          const simdgroup_matrix<C, 8, 8>& c,
                                          int line = __builtin_LINE()) {
  struct Both {
    A a[2];
    B b[2];
  };
  using M = simdgroup_matrix<D, 8, 8>;
  const auto all =
      msl::rt::exchange(Both{{a.elements[0], a.elements[1]}, {b.elements[0], b.elements[1]}}, line);
  float sum[2] = {static_cast<float>(c.elements[0]), static_cast<float>(c.elements[1])};
  for (unsigned k = 0; k < 8; ++k) {
    const float x = static_cast<float>(all[M::lane_of(M::row(), k)].a[k & 1]);
    const Both y = all[M::lane_of(k, M::column())];
    for (unsigned i = 0; i < 2; ++i) sum[i] += x * static_cast<float>(y.b[i]);
  }
  for (unsigned i = 0; i < 2; ++i) d.elements[i] = static_cast<D>(sum[i]);
}
template <class D, class A, class B>
inline void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                               const simdgroup_matrix<B, 8, 8>& b, int line = __builtin_LINE()) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)), line);
}

// ---- atomics, relaxed
enum memory_order { memory_order_relaxed };
template <class T>
struct atomic {
  T value;
};
using atomic_uint = atomic<uint>;
using atomic_int = atomic<int>;
using atomic_float = atomic<float>;
template <class P, class V>
inline auto atomic_fetch_add_explicit(P pointer, V operand, memory_order) {
  using T = std::remove_cvref_t<decltype(pointer->value)>;
#if defined(MSL_ADDRESS_SPACES)
  return T(pointer->value + operand);
#else
  T old;
  __atomic_load(&pointer->value, &old, __ATOMIC_RELAXED);
  for (;;) {
    T next = old + operand;
    if (__atomic_compare_exchange(&pointer->value, &old, &next, true, __ATOMIC_RELAXED,
                                  __ATOMIC_RELAXED))
      return old;
  }
#endif
}
template <class P>
inline auto atomic_load_explicit(P pointer, memory_order) {
  using T = std::remove_cvref_t<decltype(pointer->value)>;
#if defined(MSL_ADDRESS_SPACES)
  return T(pointer->value);
#else
  T value;
  __atomic_load(&pointer->value, &value, __ATOMIC_RELAXED);
  return value;
#endif
}
template <class P, class V>
inline void atomic_store_explicit(P pointer, V operand, memory_order) {
#if defined(MSL_ADDRESS_SPACES)
  pointer->value = operand;
#else
  std::remove_cvref_t<decltype(pointer->value)> value = operand;
  __atomic_store(&pointer->value, &value, __ATOMIC_RELAXED);
#endif
}

}  // namespace metal
