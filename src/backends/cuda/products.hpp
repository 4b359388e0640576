#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "layout/tensor_view.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/layout/dtype.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cuda {

/// One operand of a product, only read: any strides, in elements.
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
  std::int64_t batch_stride = 0;
};

/// A dense matrix with rows of `columns` elements.
inline Matrix rows_of(void* data, DType dtype, std::int64_t columns) {
  return {.data = data, .dtype = dtype, .row_stride = columns};
}
inline Matrix rows_of(const TensorView& x) { return rows_of(x.data, x.dtype, x.dim(1)); }
inline Matrix transposed(Matrix m) {
  std::swap(m.row_stride, m.column_stride);
  return m;
}

/// c [G,M,N] = alpha · a [G,M,K] b [G,K,N] + beta · c (+ bias [N]), accumulated in f32. Rows of c are dense.
struct Product {
  std::int64_t G = 1;
  std::int64_t M = 0;
  std::int64_t N = 0;
  std::int64_t K = 0;
  Matrix a;
  Matrix b;
  void* c = nullptr;
  DType c_dtype = DType::kF32;
  std::int64_t c_row_stride = 0;
  std::int64_t c_batch_stride = 0;
  float alpha = 1;
  float beta = 0;
  const void* bias = nullptr;  ///< of c's dtype
};

/// Products by cuBLASLt. The algorithm of a shape is chosen once and kept.
class Products {
 public:
  /// For the GPU that is current.
  Products();
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// Why no product can run on this machine; empty when cuBLASLt was found.
  static std::string missing_library();

  /// Enqueues the product. Unsupported, with nothing enqueued: operands of different dtypes, layouts that
  /// are no matrix of cuBLASLt's, or a combination without an algorithm.
  KernelStatus run(Stream& stream, const Product& product);

 private:
  struct Call;
  struct Choice {
    cublasLtMatmulAlgo_t algorithm;
    std::size_t workspace = 0;
    bool found = false;
  };
  using Key = std::array<std::int64_t, 16>;

  Choice choose(const Key& key, const Call& call);

  cublasLtHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, Choice> choices_;
};

}  // namespace wick::cuda
