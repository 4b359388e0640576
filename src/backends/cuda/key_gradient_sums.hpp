#pragma once

#include <cstdint>

#include "layout/tensor_view.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cuda {

/// sums += part, `count` elements of f16 or bf16.
void add_key_gradients(Stream& stream, DType dtype, const void* part, float* sums,
                       std::int64_t count);

/// to[row,:,key_head,:] = sums [S,Dh], of `to` [B,S,Hkv,Dh].
void store_key_gradients(Stream& stream, const float* sums, const TensorView& to, std::int64_t row,
                         std::int64_t key_head);

}  // namespace wick::cuda
