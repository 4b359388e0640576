#pragma once

#include <cmath>

#include "reference/array.hpp"

namespace wick::reference {

/// How the operands of matmul_ref() are read.
struct MatmulForm {
  bool transpose_a = false;
  bool transpose_b = false;
  double alpha = 1;
};

/// Every element made positive: what a sum of products is measured against.
inline Array absolute(const Array& x) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.numel(); ++i) y[i] = std::abs(x[i]);
  return y;
}

/// The leading dimensions of the product: those of a and b, broadcast.
inline std::vector<std::int64_t> matmul_batch(const Array& a, const Array& b) {
  const std::vector<std::int64_t> left(a.shape.begin(), a.shape.end() - 2);
  const std::vector<std::int64_t> right(b.shape.begin(), b.shape.end() - 2);
  const auto first = [](double x, double) { return x; };
  return broadcast_apply(Array(left), Array(right), first).shape;
}

/// out[g,m,n] = alpha Σ_k op(a)[g,m,k] op(b)[g,k,n]. op(a) [G,M,K], op(b) [G,K,N]; the axes that G
/// stands for broadcast.
inline Array matmul_ref(const Array& a, const Array& b, const MatmulForm& form = {}) {
  const std::int64_t M = a.dim(form.transpose_a ? -1 : -2);
  const std::int64_t K = a.dim(form.transpose_a ? -2 : -1);
  const std::int64_t N = b.dim(form.transpose_b ? -2 : -1);
  const std::vector<std::int64_t> batch = matmul_batch(a, b);
  const std::vector<std::int64_t> batch_a(a.shape.begin(), a.shape.end() - 2);
  const std::vector<std::int64_t> batch_b(b.shape.begin(), b.shape.end() - 2);
  std::vector<std::int64_t> shape = batch;
  shape.insert(shape.end(), {M, N});
  Array out(shape);
  for (std::int64_t g = 0; g < Array::count(batch); ++g) {
    const auto index = unravel(g, batch);
    const std::int64_t start_a = ravel_broadcast(index, batch_a) * M * K;
    const std::int64_t start_b = ravel_broadcast(index, batch_b) * K * N;
    for (std::int64_t m = 0; m < M; ++m) {
      for (std::int64_t n = 0; n < N; ++n) {
        double sum = 0;
        for (std::int64_t k = 0; k < K; ++k) {
          sum += a[start_a + (form.transpose_a ? k * M + m : m * K + k)] *
                 b[start_b + (form.transpose_b ? n * K + k : k * N + n)];
        }
        out[(g * M + m) * N + n] = form.alpha * sum;
      }
    }
  }
  return out;
}

}  // namespace wick::reference
