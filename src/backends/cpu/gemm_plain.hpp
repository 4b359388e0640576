#pragma once

#include <cstdint>

#include "backends/cpu/gemm.hpp"

namespace wick::cpu {

// The vector loops below gemm(). None allocates, none starts threads; `map` of operands is not
// applied.

/// out[i * columns + j] = element (i, j) of `source` as f32.
void panel_to_float(const Operand& source, std::int64_t rows, std::int64_t columns, float* out);

/// c = tile + beta · c, rounded once; tile [rows, columns] dense. With beta = 0 c is not read.
void store_tile(const float* tile, std::int64_t rows, std::int64_t columns, float beta,
                const Result& c);

/// c = beta · c. With beta = 0 c is not read and becomes zero.
void scale_result(const Result& c, std::int64_t rows, std::int64_t columns, float beta);

/// c = alpha · a b + beta · c. With beta = 0 c is not read.
struct TileProduct {
  std::int64_t M, N, K;
  float alpha, beta;
  const float* a;  ///< [M,K], rows a_stride apart
  std::int64_t a_stride;
  Operand b;  ///< [K,N] of any floating dtype, with a stride of 1 along one axis
  float* c;   ///< [M,N], rows c_stride apart
  std::int64_t c_stride;
};
void multiply_tile(const TileProduct& product);

}  // namespace wick::cpu
