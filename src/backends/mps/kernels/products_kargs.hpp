#pragma once

#include <cstdint>

namespace wick {
namespace mps {

/// Steps between the elements of a matrix of a batch.
struct MatrixSteps {
  int64_t row;
  int64_t column;
  int64_t batch;
};

/// c [M,N] = alpha · a b + beta · c + bias + scale · p s, a [M,K], b [K,N], p [M,R] dense, s [R,N].
struct ProductKargs {
  MatrixSteps a, b;
  int64_t c_row, c_batch;
  int64_t s_row, s_column;
  int32_t M, N, K, R;
  float alpha, beta, scale;
  int32_t has_bias;
};

}  // namespace mps
}  // namespace wick
