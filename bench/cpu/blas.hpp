#pragma once

#include <functional>

#include "case.hpp"

namespace wick::bench {

/// C = alpha · op(A) op(B) + beta · C, all row-major.
struct Product {
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t M = 0, N = 0, K = 0;
  float alpha = 1;
  const float* a = nullptr;
  std::int64_t lda = 0;
  const float* b = nullptr;
  std::int64_t ldb = 0;
  float beta = 0;
  float* c = nullptr;
  std::int64_t ldc = 0;
};
using Sgemm = std::function<void(const Product&)>;

/// The f32 cases as the obvious sequence of products; nothing for the other cases.
std::optional<Work> blas_work(const Case& which, const Sgemm& sgemm);

}  // namespace wick::bench
