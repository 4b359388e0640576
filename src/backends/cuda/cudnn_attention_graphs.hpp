#pragma once

#include "backends/cuda/attention_cut.hpp"
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

  AttentionSizes sizes() const {
    return {.B = B, .T = T, .S = S, .H = H, .Hkv = Hkv, .causal = causal, .window = window};
  }
  /// Those of a piece in the same memory; with `dense_keys` the gradients of its keys are in memory of their own.
  AttentionShapes of(const AttentionPiece& piece, bool dense_keys) const;

  std::int64_t B, T, S, H, Hkv, Dh;
  cudnnDataType_t dtype;
  FourAxes q_strides, k_strides, v_strides;  ///< by batch, head, token, element
  FourAxes query_strides, key_strides;       ///< of out and gradients, dense [B,N,heads,Dh]
  FourAxes lse_strides;                      ///< by batch, head, token
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
