#include "backends/mps/kernels/common.metal"
#include "backends/mps/kernels/products_kargs.hpp"

using namespace wick::mps;

constant uint kTypeA [[function_constant(0)]];
constant uint kTypeB [[function_constant(1)]];
constant uint kTypeC [[function_constant(2)]];
constant uint kTypeBias [[function_constant(3)]];
constant uint kTypeS [[function_constant(4)]];
constant uint kColumnsA
    [[function_constant(5)]];  // a lies by columns: neighbours are in one column
constant uint kColumnsB [[function_constant(6)]];
constant uint kPacked
    [[function_constant(7)]];  // few_rows: rows of a and columns of b are packs of four

// alpha · total and the rest into c.
inline void write_product(device uchar* c, device const uchar* bias, constant ProductKargs& args,
                          ulong batch, uint row, uint column, float total) {
  const ulong at = batch * ulong(args.c_batch) + ulong(row) * ulong(args.c_row) + column;
  float value = args.alpha * total;
  if (args.beta != 0.0f) value += args.beta * load_float(c, at, kTypeC);
  if (args.has_bias != 0) value += load_float(bias, column, kTypeBias);
  store_float(c, at, kTypeC, value);
}

// ---- tiles: a threadgroup of four simdgroups makes T x T results, T = 32 or 64; each simdgroup a quarter, by matrices of
// 8 x 8. The inner dimension goes by 16.

#define WICK_INNER 16

// tile [T,16] = factor · m [row0.., k0..], zeros outside.
inline void load_left(threadgroup float* tile, uint T, device const uchar* data, uint dtype,
                      bool by_columns, long row_step, long column_step, uint row0, uint k0,
                      uint rows, uint inner, float factor, uint thread_index) {
  for (uint e = thread_index; e < T * WICK_INNER; e += 128) {
    const uint r = by_columns ? e % T : e / WICK_INNER;
    const uint k = by_columns ? e / T : e % WICK_INNER;
    float value = 0.0f;
    if (row0 + r < rows && k0 + k < inner) {
      value =
          factor *
          load_float(data, ulong(long(row0 + r) * row_step + long(k0 + k) * column_step), dtype);
    }
    tile[r * WICK_INNER + k] = value;
  }
}

// tile [16,T] = m [k0.., column0..], zeros outside.
inline void load_right(threadgroup float* tile, uint T, device const uchar* data, uint dtype,
                       bool by_columns, long row_step, long column_step, uint k0, uint column0,
                       uint inner, uint columns, uint thread_index) {
  for (uint e = thread_index; e < T * WICK_INNER; e += 128) {
    const uint k = by_columns ? e % WICK_INNER : e / T;
    const uint n = by_columns ? e / WICK_INNER : e % T;
    float value = 0.0f;
    if (k0 + k < inner && column0 + n < columns) {
      value =
          load_float(data, ulong(long(k0 + k) * row_step + long(column0 + n) * column_step), dtype);
    }
    tile[k * T + n] = value;
  }
}

// sums += the product of two tiles.
template <uint B>
inline void multiply_tiles(thread simdgroup_float8x8 (&sums)[B][B], threadgroup const float* a,
                           threadgroup const float* b, uint row, uint column) {
  const uint T = 16 * B;
  for (uint k = 0; k < WICK_INNER; k += 8) {
    simdgroup_float8x8 left[B];
    simdgroup_float8x8 right[B];
    for (uint i = 0; i < B; ++i) {
      simdgroup_load(left[i], a + (row + 8 * i) * WICK_INNER + k, WICK_INNER);
      simdgroup_load(right[i], b + k * T + column + 8 * i, T);
    }
    for (uint i = 0; i < B; ++i) {
      for (uint j = 0; j < B; ++j)
        simdgroup_multiply_accumulate(sums[i][j], left[i], right[j], sums[i][j]);
    }
  }
}

template <uint B>
inline void run_tiles(device const uchar* a, device const uchar* b, device uchar* c,
                      device const uchar* bias, device const uchar* p, device const uchar* s,
                      constant ProductKargs& args, threadgroup float* a_tile,
                      threadgroup float* b_tile, threadgroup float* c_tile, uint3 group,
                      uint thread_index, uint simd) {
  const uint T = 16 * B;
  const uint row0 = group.y * T;
  const uint column0 = group.x * T;
  const uint row = (simd / 2) * 8 * B;
  const uint column = (simd % 2) * 8 * B;
  const uint M = uint(args.M);
  const uint N = uint(args.N);
  simdgroup_float8x8 sums[B][B];
  for (uint i = 0; i < B; ++i) {
    for (uint j = 0; j < B; ++j) sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  device const uchar* const left = a + ulong(group.z) * ulong(args.a.batch) * size_of_type(kTypeA);
  device const uchar* const right = b + ulong(group.z) * ulong(args.b.batch) * size_of_type(kTypeB);
  for (uint k = 0; k < uint(args.K); k += WICK_INNER) {
    load_left(a_tile, T, left, kTypeA, kColumnsA != 0, args.a.row, args.a.column, row0, k, M,
              uint(args.K), 1.0f, thread_index);
    load_right(b_tile, T, right, kTypeB, kColumnsB != 0, args.b.row, args.b.column, k, column0,
               uint(args.K), N, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    multiply_tiles<B>(sums, a_tile, b_tile, row, column);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint r = 0; r < uint(args.R); r += WICK_INNER) {
    load_left(a_tile, T, p, kF32, false, long(args.R), 1, row0, r, M, uint(args.R), args.scale,
              thread_index);
    load_right(b_tile, T, s, kTypeS, args.s_row == 1, args.s_row, args.s_column, r, column0,
               uint(args.R), N, thread_index);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    multiply_tiles<B>(sums, a_tile, b_tile, row, column);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint i = 0; i < B; ++i) {
    for (uint j = 0; j < B; ++j)
      simdgroup_store(sums[i][j], c_tile + (row + 8 * i) * T + column + 8 * j, T);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint e = thread_index; e < T * T; e += 128) {
    const uint r = row0 + e / T;
    const uint n = column0 + e % T;
    if (r < M && n < N) write_product(c, bias, args, group.z, r, n, c_tile[e]);
  }
}

kernel void product_tiles_32(device const uchar* a [[buffer(0)]],
                             device const uchar* b [[buffer(1)]], device uchar* c [[buffer(2)]],
                             device const uchar* bias [[buffer(3)]],
                             device const uchar* p [[buffer(4)]],
                             device const uchar* s [[buffer(5)]],
                             constant ProductKargs& args [[buffer(6)]],
                             uint3 group [[threadgroup_position_in_grid]],
                             uint thread_index [[thread_index_in_threadgroup]],
                             uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup float a_tile[32 * WICK_INNER];
  threadgroup float b_tile[WICK_INNER * 32];
  threadgroup float c_tile[32 * 32];
  run_tiles<2>(a, b, c, bias, p, s, args, a_tile, b_tile, c_tile, group, thread_index, simd);
}

kernel void product_tiles_64(device const uchar* a [[buffer(0)]],
                             device const uchar* b [[buffer(1)]], device uchar* c [[buffer(2)]],
                             device const uchar* bias [[buffer(3)]],
                             device const uchar* p [[buffer(4)]],
                             device const uchar* s [[buffer(5)]],
                             constant ProductKargs& args [[buffer(6)]],
                             uint3 group [[threadgroup_position_in_grid]],
                             uint thread_index [[thread_index_in_threadgroup]],
                             uint simd [[simdgroup_index_in_threadgroup]]) {
  threadgroup float a_tile[64 * WICK_INNER];
  threadgroup float b_tile[WICK_INNER * 64];
  threadgroup float c_tile[64 * 64];
  run_tiles<4>(a, b, c, bias, p, s, args, a_tile, b_tile, c_tile, group, thread_index, simd);
}

// ---- few rows: at most 8 of a, b by columns. A simdgroup makes a column of c in one pass over b; four of them share a
// threadgroup.

#define WICK_FEW_ROWS 8

kernel void product_few_rows(
    device const uchar* a [[buffer(0)]], device const uchar* b [[buffer(1)]],
    device uchar* c [[buffer(2)]], device const uchar* bias [[buffer(3)]],
    device const uchar* p [[buffer(4)]], device const uchar* s [[buffer(5)]],
    constant ProductKargs& args [[buffer(6)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simd [[simdgroup_index_in_threadgroup]]) {
  const uint column = group * 4 + simd;
  if (column >= uint(args.N)) return;
  const uint M = uint(args.M);
  const uint K = uint(args.K);
  float sums[WICK_FEW_ROWS];
  for (uint m = 0; m < WICK_FEW_ROWS; ++m) sums[m] = 0.0f;
  const ulong start = ulong(column) * ulong(args.b.column);
  if (kPacked != 0) {
    for (uint k = lane * 4; k < K; k += 128) {
      const float4 w = load_float4(b, start + k, kTypeB);
      for (uint m = 0; m < M; ++m) {
        sums[m] += dot(load_float4(a, ulong(m) * ulong(args.a.row) + k, kTypeA), w);
      }
    }
  } else {
    for (uint k = lane; k < K; k += 32) {
      const float w = load_float(b, start + k, kTypeB);
      for (uint m = 0; m < M; ++m)
        sums[m] += load_float(a, ulong(m) * ulong(args.a.row) + k, kTypeA) * w;
    }
  }
  for (uint r = lane; r < uint(args.R); r += 32) {
    const ulong at = ulong(r) * ulong(args.s_row) + ulong(column) * ulong(args.s_column);
    const float w = args.scale * load_float(s, at, kTypeS);
    for (uint m = 0; m < M; ++m) sums[m] += load_float(p, ulong(m) * ulong(args.R) + r, kF32) * w;
  }
  for (uint m = 0; m < M; ++m) {
    const float total = simd_sum(sums[m]);
    if (lane == 0) write_product(c, bias, args, 0, m, column, total);
  }
}
