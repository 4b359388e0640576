#pragma once

#include "backends/cuda/cudnn_graph.hpp"
#include "runtime/args/attention_args.hpp"

namespace wick::cuda {

/// Numbers of the tensors of attention's graphs.
enum AttentionTensor : std::int64_t {
  kQueries = 1,
  kKeys,
  kValues,
  kOut,
  kLse,
  kOutGradient,
  kQueryGradient,
  kKeyGradient,
  kValueGradient,
  kRowSums,    ///< f32 [B,H,T]: Σ dout · out
  kQuerySums,  ///< f32 [B,H,T,Dh]: dq while it is summed
};

/// What both directions have in common.
struct AttentionShapes {
  AttentionShapes(const TensorView& q, const TensorView& k, const TensorView& v,
                  const AttentionMask& mask, float factor);

  /// Of as many rows of the batch and key heads, with their query heads, in the same memory.
  AttentionShapes part(std::int64_t rows, std::int64_t key_heads) const;

  std::int64_t B, T, S, H, Hkv, Dh;
  cudnnDataType_t dtype;
  FourAxes q_strides, k_strides, v_strides;  ///< by batch, head, token, element
  FourAxes query_strides,
      key_strides;  ///< of out and of all gradients, which are dense [B,N,heads,Dh]
  bool causal;
  std::int64_t window;
  float scale;

  FourAxes scores() const { return {B, H, T, S}; }
  FourAxes row_numbers() const { return {B, H, T, 1}; }
};

/// out and, when wanted, lse. Built, but for the choice of an engine.
void add_attention(CudnnGraph& graph, const AttentionShapes& x, bool with_lse);

/// dq, dk and dv. `direct`: the gradient of the scores is kept as a matrix in the workspace and dq is one
/// product, which gives the same bits each time; otherwise blocks add to kQuerySums in any order.
void add_attention_backward(CudnnGraph& graph, const AttentionShapes& x, bool direct);

}  // namespace wick::cuda
