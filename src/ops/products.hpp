#pragma once

#include "ops/checks.hpp"
#include "wick/ops/matmul.hpp"

namespace wick::detail {

/// The shapes of a product after transposition and broadcasting.
struct ProductShape {
  Shape batch;
  std::int64_t M = 0, N = 0, K = 0;

  Shape result() const;
};

/// Checks a and b against the contract of matmul().
ProductShape product_shape(const Check& check, const Tensor& a, const Tensor& b,
                           const MatmulOptions& options);

/// c = alpha · op(a) op(b) + beta · c, without checks or recording. c has the shape of the product and unit
/// stride along its last axis.
void launch_product(const ProductShape& shape, const Tensor& c, const Tensor& a, const Tensor& b,
                    const MatmulOptions& options, double beta);

/// The dtype of matmul()'s result.
DType product_dtype(const Tensor& a, const Tensor& b);

/// launch_product() into a new tensor.
Tensor product(const Tensor& a, const Tensor& b, const MatmulOptions& options, DType dtype);

}  // namespace wick::detail
