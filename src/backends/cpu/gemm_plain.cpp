#include "backends/cpu/gemm_plain.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/gemm_plain.cpp"
#include "backends/cpu/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "backends/cpu/dtype_switch.hpp"
#include "backends/cpu/simd-inl.hpp"
#include "backends/cpu/transpose-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace wick::cpu::HWY_NAMESPACE {

// ---- Between dtypes -----------------------------------------------------------------------------

template <class T>
void row_to_float(const T* x, float* out, std::int64_t n) {
  for_each_vector(n, [&](std::int64_t i, std::int64_t count)
                         HWY_ATTR { store_some(load_some(x + i, count), out + i, count); });
}

// Rows that are not contiguous. Sixteen at a time, so that one walk down a column of the source and
// one along the rows of `out` both stay in cache.
template <class T>
void gather_panel(const T* x, const Operand& source, std::int64_t rows, std::int64_t columns,
                  float* out) {
  constexpr std::int64_t kRowsAtOnce = 16;
  for (std::int64_t first = 0; first < rows; first += kRowsAtOnce) {
    const std::int64_t last = std::min(rows, first + kRowsAtOnce);
    for (std::int64_t j = 0; j < columns; ++j) {
      const T* const column = x + j * source.column_stride;
      for (std::int64_t i = first; i < last; ++i) {
        out[i * columns + j] = static_cast<float>(column[i * source.row_stride]);
      }
    }
  }
}

void panel_to_float_here(const Operand& source, std::int64_t rows, std::int64_t columns,
                         float* out) {
  switch_floating(source.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const x = static_cast<const T*>(source.data);
    if (source.column_stride != 1) {
      gather_panel(x, source, rows, columns, out);
    } else if (source.row_stride == columns) {
      row_to_float(x, out, rows * columns);
    } else {
      for (std::int64_t i = 0; i < rows; ++i) {
        row_to_float(x + i * source.row_stride, out + i * columns, columns);
      }
    }
  });
}

template <class T>
void store_row(const float* sums, float beta, T* c, std::int64_t n) {
  const auto factor = hn::Set(F32(), beta);
  for_each_vector(n, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
    auto v = load_some(sums + j, count);
    if (beta != 0) v = hn::MulAdd(factor, load_some(c + j, count), v);
    store_some(v, c + j, count);
  });
}

void store_tile_here(const float* tile, std::int64_t rows, std::int64_t columns, float beta,
                     const Result& c) {
  switch_floating(c.dtype, [&]<class T>(std::type_identity<T>) {
    T* const out = static_cast<T*>(c.data);
    for (std::int64_t i = 0; i < rows; ++i) {
      store_row(tile + i * columns, beta, out + i * c.row_stride, columns);
    }
  });
}

// ---- Products -----------------------------------------------------------------------------------

// c[0..columns) = alpha · sum + beta · c; columns is at most lanes().
HWY_INLINE void finish(F32Vec sum, const TileProduct& p, float* c, std::int64_t columns) {
  const std::int64_t count = std::min(columns, lanes());  // known to the compiler thereby
  auto v = hn::Mul(sum, hn::Set(F32(), p.alpha));
  if (p.beta != 0) v = hn::MulAdd(hn::Set(F32(), p.beta), load_some(c, count), v);
  store_some(v, c, count);
}

template <bool kFull, class T>
HWY_INLINE F32Vec load_columns(const T* b, std::int64_t count) {
  if constexpr (kFull) return load(b);
  return load_some(b, count);
}

// One row of c in two vectors of `left` and `right` columns: the case of a vector times a matrix.
template <bool kFull, class T>
void one_row(const TileProduct& p, const float* a, const T* b, float* c, std::int64_t left,
             std::int64_t right) {
  auto sum0 = hn::Zero(F32());
  auto sum1 = hn::Zero(F32());
  for (std::int64_t k = 0; k < p.K; ++k) {
    const T* const row = b + k * p.b.row_stride;
    const auto factor = hn::Set(F32(), a[k]);
    sum0 = hn::MulAdd(factor, load_columns<kFull>(row, left), sum0);
    sum1 = hn::MulAdd(factor, load_columns<kFull>(row + left, right), sum1);
  }
  finish(sum0, p, c, left);
  if (right > 0) finish(sum1, p, c + left, right);
}

// As above for four rows of c: eight sums, as many as hide the latency of their additions. Where
// fewer than four `rows` are left the last one stands in for those missing.
template <bool kFull, class T>
void four_rows(const TileProduct& p, const float* a, std::int64_t rows, const T* b, float* c,
               std::int64_t left, std::int64_t right) {
  const float* const a1 = a + std::min<std::int64_t>(1, rows - 1) * p.a_stride;
  const float* const a2 = a + std::min<std::int64_t>(2, rows - 1) * p.a_stride;
  const float* const a3 = a + (rows - 1) * p.a_stride;
  auto s00 = hn::Zero(F32()), s01 = s00, s10 = s00, s11 = s00;
  auto s20 = s00, s21 = s00, s30 = s00, s31 = s00;
  for (std::int64_t k = 0; k < p.K; ++k) {
    const auto b0 = load_columns<kFull>(b + k * p.b.row_stride, left);
    const auto b1 = load_columns<kFull>(b + k * p.b.row_stride + left, right);
    const auto f0 = hn::Set(F32(), a[k]), f1 = hn::Set(F32(), a1[k]);
    s00 = hn::MulAdd(f0, b0, s00), s01 = hn::MulAdd(f0, b1, s01);
    s10 = hn::MulAdd(f1, b0, s10), s11 = hn::MulAdd(f1, b1, s11);
    const auto f2 = hn::Set(F32(), a2[k]), f3 = hn::Set(F32(), a3[k]);
    s20 = hn::MulAdd(f2, b0, s20), s21 = hn::MulAdd(f2, b1, s21);
    s30 = hn::MulAdd(f3, b0, s30), s31 = hn::MulAdd(f3, b1, s31);
  }
  const auto finish_row = [&](std::int64_t row, F32Vec sum0, F32Vec sum1) HWY_ATTR {
    if (row >= rows) return;
    finish(sum0, p, c + row * p.c_stride, left);
    if (right > 0) finish(sum1, p, c + row * p.c_stride + left, right);
  };
  finish_row(0, s00, s01);
  finish_row(1, s10, s11);
  finish_row(2, s20, s21);
  finish_row(3, s30, s31);
}

template <bool kFull, class T>
void two_vectors_of_columns(const TileProduct& p, const T* b, float* c, std::int64_t left,
                            std::int64_t right) {
  if (p.M == 1) return one_row<kFull>(p, p.a, b, c, left, right);
  for (std::int64_t m = 0; m < p.M; m += 4) {
    four_rows<kFull>(p, p.a + m * p.a_stride, std::min<std::int64_t>(4, p.M - m), b,
                     c + m * p.c_stride, left, right);
  }
}

// The rows of b are contiguous: a strip of b two vectors wide stays in cache for all rows of a.
template <class T>
void multiply_by_rows(const TileProduct& p, const T* b) {
  const std::int64_t step = 2 * lanes();
  std::int64_t n = 0;
  for (; n + step <= p.N; n += step) {
    two_vectors_of_columns<true>(p, b + n, p.c + n, lanes(), lanes());
  }
  if (n == p.N) return;
  const std::int64_t left = std::min(lanes(), p.N - n);
  two_vectors_of_columns<false>(p, b + n, p.c + n, left, p.N - n - left);
}

// sums[j] = Σ_i shared[i] · vectors[j][i]. Four at once share the loads of `shared`.
template <class Shared>
HWY_INLINE void four_dots(const Shared* shared, const float* const (&vectors)[4], std::int64_t n,
                          float (&sums)[4]) {
  auto s0 = hn::Zero(F32()), s1 = s0, s2 = s0, s3 = s0;
  for_each_vector(n, [&](std::int64_t i, std::int64_t count) HWY_ATTR {
    const auto v = load_some(shared + i, count);
    s0 = hn::MulAdd(v, load_some(vectors[0] + i, count), s0);
    s1 = hn::MulAdd(v, load_some(vectors[1] + i, count), s1);
    s2 = hn::MulAdd(v, load_some(vectors[2] + i, count), s2);
    s3 = hn::MulAdd(v, load_some(vectors[3] + i, count), s3);
  });
  sum_lanes_of_four(s0, s1, s2, s3, sums);
}

// The lanes of the result add up to Σ_i x[i] · y[i]. Four sums hide the latency of an addition; four vectors y at once
// would do so as well, but they are four streams, and processors fetch one ahead far better.
template <class T>
HWY_INLINE F32Vec lanes_of_dot(const float* x, const T* y, std::int64_t n) {
  auto s0 = hn::Zero(F32()), s1 = s0, s2 = s0, s3 = s0;
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    s0 = hn::MulAdd(load(x + i), load(y + i), s0);
    s1 = hn::MulAdd(load(x + i + step), load(y + i + step), s1);
    s2 = hn::MulAdd(load(x + i + 2 * step), load(y + i + 2 * step), s2);
    s3 = hn::MulAdd(load(x + i + 3 * step), load(y + i + 3 * step), s3);
  }
  for_each_vector(n - i, [&](std::int64_t j, std::int64_t count) HWY_ATTR {
    s0 = hn::MulAdd(load_some(x + i + j, count), load_some(y + i + j, count), s0);
  });
  return hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
}

// Four vectors `stride` apart, the last of the `count` left standing in for those missing.
template <class T>
HWY_INLINE void point_to_four(const T* first, std::int64_t stride, std::int64_t count,
                              const T* (&vectors)[4]) {
  for (std::int64_t j = 0; j < 4; ++j) vectors[j] = first + std::min(j, count - 1) * stride;
}

// The products of one row with columns of b that are half a vector long and lie one behind the other, as those of an adapter
// do, eight at a time. Returns how many of the p.N were computed; sums are those of multiply_by_columns().
template <class Put>
std::int64_t multiply_halves([[maybe_unused]] const TileProduct& p, [[maybe_unused]] const float* b,
                             [[maybe_unused]] const Put& put) {
  std::int64_t n = 0;
#if HWY_TARGET != HWY_SCALAR
  constexpr std::int64_t kBlock = 4;
  if (lanes() < 2 * kBlock || 2 * p.K != lanes() || p.b.column_stride != p.K) return 0;
  HWY_ALIGN float twice[HWY_MAX_BYTES / sizeof(float)];
  std::copy_n(p.a, p.K, twice);
  std::copy_n(p.a, p.K, twice + p.K);
  const auto row = load(twice);
  const auto pair_at = [&](std::int64_t column)
                           HWY_ATTR { return hn::Mul(row, load(b + column * p.K)); };
  for (; n + 8 <= p.N; n += 8) {
    HWY_ALIGN float blocks[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(sum_blocks_of_four(pair_at(n), pair_at(n + 2), pair_at(n + 4), pair_at(n + 6)), F32(),
              blocks);
    for (std::int64_t j = 0; j < 8; ++j) {
      const float* const half = blocks + j % 2 * p.K + j / 2;
      float sum = half[0];
      for (std::int64_t i = kBlock; i < p.K; i += kBlock) sum += half[i];
      put(0, n + j, sum);
    }
  }
#endif
  return n;
}

// The columns of b are contiguous, as where a weight [N,K] is multiplied with: each element of c is
// a dot product of two contiguous vectors.
template <class T>
void multiply_by_columns(const TileProduct& p, const T* b) {
  float sums[4];
  const auto put = [&](std::int64_t m, std::int64_t n, float sum) {
    float& c = p.c[m * p.c_stride + n];
    c = p.alpha * sum + (p.beta == 0 ? 0.0F : p.beta * c);
  };
  if (p.M == 1) {
    const T* columns[4];
    std::int64_t n = 0;
    if constexpr (std::is_same_v<T, float>) n = multiply_halves(p, b, put);
    for (; n < p.N; n += 4) {
      point_to_four(b + n * p.b.column_stride, p.b.column_stride, p.N - n, columns);
      const auto d0 = lanes_of_dot(p.a, columns[0], p.K), d1 = lanes_of_dot(p.a, columns[1], p.K);
      const auto d2 = lanes_of_dot(p.a, columns[2], p.K), d3 = lanes_of_dot(p.a, columns[3], p.K);
      sum_lanes_of_four(d0, d1, d2, d3, sums);
      for (std::int64_t j = 0; j < std::min<std::int64_t>(4, p.N - n); ++j) put(0, n + j, sums[j]);
    }
    return;
  }
  const float* rows[4];
  for (std::int64_t n = 0; n < p.N; ++n) {
    for (std::int64_t m = 0; m < p.M; m += 4) {
      point_to_four(p.a + m * p.a_stride, p.a_stride, p.M - m, rows);
      four_dots(b + n * p.b.column_stride, rows, p.K, sums);
      for (std::int64_t j = 0; j < std::min<std::int64_t>(4, p.M - m); ++j) put(m + j, n, sums[j]);
    }
  }
}

void multiply_tile_here(const TileProduct& p) {
  switch_floating(p.b.dtype, [&]<class T>(std::type_identity<T>) {
    const T* const b = static_cast<const T*>(p.b.data);
    if (p.b.column_stride == 1) {
      multiply_by_rows(p, b);
    } else {
      multiply_by_columns(p, b);
    }
  });
}

}  // namespace wick::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace wick::cpu {

HWY_EXPORT(panel_to_float_here);
HWY_EXPORT(store_tile_here);
HWY_EXPORT(multiply_tile_here);

void panel_to_float(const Operand& source, std::int64_t rows, std::int64_t columns, float* out) {
  HWY_DYNAMIC_DISPATCH(panel_to_float_here)(source, rows, columns, out);
}

void store_tile(const float* tile, std::int64_t rows, std::int64_t columns, float beta,
                const Result& c) {
  HWY_DYNAMIC_DISPATCH(store_tile_here)(tile, rows, columns, beta, c);
}

void scale_result(const Result& c, std::int64_t rows, std::int64_t columns, float beta) {
  switch_floating(c.dtype, [&]<class T>(std::type_identity<T>) {
    for (std::int64_t i = 0; i < rows; ++i) {
      T* const row = static_cast<T*>(c.data) + i * c.row_stride;
      for (std::int64_t j = 0; j < columns; ++j) {
        row[j] = beta == 0 ? T{} : static_cast<T>(beta * static_cast<float>(row[j]));
      }
    }
  });
}

void multiply_tile(const TileProduct& product) {
  HWY_DYNAMIC_DISPATCH(multiply_tile_here)(product);
}

}  // namespace wick::cpu
#endif  // HWY_ONCE
