#pragma once

#include "reference/array.hpp"
#include "reference/dropout_ref.hpp"
#include "reference/matmul_ref.hpp"

namespace wick::reference {

/// The numbers of an adapter; `dropout` 0 leaves the stream alone.
struct LoraForm {
  double scale = 1;
  double dropout = 0;
  PhiloxStream stream = {};
};

/// y = x Wᵀ + bias + scale (drop(x) Aᵀ) Bᵀ. x [...,K], W [N,K], bias [N] or null, A [r,K], B [N,r],
/// y [...,N].
inline Array lora_linear_ref(const Array& x, const Array& weight, const Array* bias,
                             const Array& lora_a, const Array& lora_b, const LoraForm& form) {
  const std::int64_t K = weight.dim(1);
  const std::int64_t N = weight.dim(0);
  std::vector<std::int64_t> shape = x.shape;
  shape.back() = N;
  Array y(shape);
  const std::int64_t M = Array::count(shape) / std::max<std::int64_t>(N, 1);
  Array rows({M, K}, x.data);
  const MatmulForm by_transpose = {.transpose_b = true};
  const Array base = matmul_ref(rows, weight, by_transpose);
  if (form.dropout > 0) rows = dropout_ref(rows, form.dropout, form.stream);
  const Array adapter = matmul_ref(matmul_ref(rows, lora_a, by_transpose), lora_b, by_transpose);
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    y[i] = base[i] + (bias == nullptr ? 0 : (*bias)[i % N]) + form.scale * adapter[i];
  }
  return y;
}

}  // namespace wick::reference
