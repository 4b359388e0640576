#include "backends/cuda/cudnn_attention_graphs.hpp"

#include <limits>
#include <utility>

// cuDNN has an engine for graphs of exactly these operations: it recognises the pattern, and refuses what
// differs, whatever it computes.

namespace wick::cuda {

namespace {

using Tensor = CudnnGraph::Tensor;

// cuDNN asks for the product of queries and keys with the keys' last two axes exchanged.
FourAxes exchanged(FourAxes axes) {
  std::swap(axes[2], axes[3]);
  return axes;
}

FourAxes head_token_strides(const TensorView& x) {
  // The stride of an axis of one element is never used, but checked.
  const auto stride = [&](int axis, std::int64_t instead) {
    return x.dim(axis) == 1 ? instead : x.stride(axis);
  };
  const std::int64_t head = stride(2, x.dim(3));
  const std::int64_t token = stride(1, x.dim(2) * x.dim(3));
  return {stride(0, x.dim(1) * token), head, token, 1};
}

// A graph under construction: results of operations in f32 unless said otherwise.
struct Builder {
  CudnnGraph& graph;
  const AttentionShapes& x;

  Tensor binary(cudnnPointwiseMode_t mode, Tensor a, Tensor b, const FourAxes& sizes) {
    const Tensor to = graph.inner(CUDNN_DATA_FLOAT, sizes);
    graph.pointwise(mode, to, a, b);
    return to;
  }
  Tensor unary(cudnnPointwiseMode_t mode, Tensor a, const FourAxes& sizes) {
    const Tensor to = graph.inner(CUDNN_DATA_FLOAT, sizes);
    graph.pointwise(mode, to, a);
    return to;
  }
  Tensor scaled(Tensor scores) {
    return binary(CUDNN_POINTWISE_MUL, scores, graph.scalar(x.scale), x.scores());
  }
  Tensor index(int axis, Tensor scores) {
    const Tensor to = graph.inner(CUDNN_DATA_INT32, x.scores());
    graph.index(axis, to, scores);
    return to;
  }
  Tensor shifted(cudnnPointwiseMode_t mode, Tensor index, std::int64_t by) {
    const Tensor to = graph.inner(CUDNN_DATA_INT32, x.scores());
    graph.pointwise(mode, to, index, graph.scalar(static_cast<std::int32_t>(by)), nullptr,
                    CUDNN_DATA_INT32);
    return to;
  }
  // −∞ where `left` compared with `right` is false.
  Tensor keep_where(cudnnPointwiseMode_t comparison, Tensor left, Tensor right, Tensor scores) {
    const Tensor kept = graph.inner(CUDNN_DATA_BOOLEAN, x.scores());
    graph.pointwise(comparison, kept, left, right, nullptr, CUDNN_DATA_BOOLEAN);
    const Tensor to = graph.inner(CUDNN_DATA_FLOAT, x.scores());
    graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, to, scores,
                    graph.scalar(-std::numeric_limits<float>::infinity()), kept);
    return to;
  }
  // Hides keys after the query's position plus `ahead`.
  Tensor bound_right(Tensor scores, std::int64_t ahead) {
    Tensor row = index(2, scores);
    const Tensor column = index(3, scores);
    if (x.S != x.T) {
      row = shifted(CUDNN_POINTWISE_ADD, row, x.S);
      row = shifted(CUDNN_POINTWISE_SUB, row, x.T);
    }
    if (ahead != 0) row = shifted(CUDNN_POINTWISE_ADD, row, ahead);
    return keep_where(CUDNN_POINTWISE_CMP_GE, row, column, scores);
  }
  // Hides keys at least a window before the query. The shift is a float: so the engine wants it.
  Tensor bound_left(Tensor scores) {
    const Tensor row = index(2, scores);
    const Tensor column = index(3, scores);
    const Tensor moved = graph.inner(CUDNN_DATA_FLOAT, x.scores());
    graph.pointwise(CUDNN_POINTWISE_ADD, moved, column,
                    graph.scalar(static_cast<float>(x.window - x.S + x.T)));
    return keep_where(CUDNN_POINTWISE_CMP_GT, moved, row, scores);
  }
  Tensor masked(Tensor scores) {
    if (x.causal) scores = bound_right(scores, 0);
    if (!x.causal && x.window != 0) scores = bound_right(scores, x.window - 1);
    if (x.window != 0) scores = bound_left(scores);
    return scores;
  }
  Tensor product(Tensor a, Tensor b, const FourAxes& sizes) {
    const Tensor to = graph.inner(CUDNN_DATA_FLOAT, sizes);
    graph.matmul(a, b, to);
    return to;
  }
  // [B,H,T,S] as [B,H,S,T] of the operands' dtype.
  Tensor transposed(Tensor scores) {
    const Tensor to =
        graph.inner(x.dtype, exchanged(x.scores()), exchanged(dense_strides(x.scores())));
    graph.reshape(to, scores);
    return to;
  }
  // The gradient of keys or values: weightsᵀ · rows, summed over the query heads of each key head.
  void key_gradient(Tensor weights, Tensor rows, Tensor to) {
    if (x.H == x.Hkv) {
      graph.matmul(transposed(weights), rows, to);
      return;
    }
    const Tensor of_heads = graph.inner(x.dtype, {x.B, x.H, x.S, x.Dh});
    graph.matmul(transposed(weights), rows, of_heads);
    graph.reduce(CUDNN_REDUCE_TENSOR_ADD, to, of_heads);
  }
};

}  // namespace

AttentionShapes::AttentionShapes(const TensorView& q, const TensorView& k, const TensorView& v,
                                 const AttentionMask& mask, float factor)
    : B(q.dim(0)),
      T(q.dim(1)),
      S(k.dim(1)),
      H(q.dim(2)),
      Hkv(k.dim(2)),
      Dh(q.dim(3)),
      dtype(q.dtype == DType::kF16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16),
      q_strides(head_token_strides(q)),
      k_strides(head_token_strides(k)),
      v_strides(head_token_strides(v)),
      query_strides{T * H * Dh, Dh, H * Dh, 1},
      key_strides{S * Hkv * Dh, Dh, Hkv * Dh, 1},
      lse_strides{H * T, T, 1, 1},
      causal(mask.causal),
      // A window that reaches everything is none.
      window(mask.window >= S + T ? 0 : mask.window),
      scale(factor) {}

AttentionShapes AttentionShapes::of(const AttentionPiece& piece, bool dense_keys) const {
  AttentionShapes result = *this;
  result.B = piece.rows;
  result.T = piece.queries;
  result.S = piece.keys;
  result.H = piece.heads;
  result.Hkv = piece.key_heads;
  if (window >= piece.keys + piece.queries) result.window = 0;
  if (dense_keys) {
    result.key_strides = {piece.key_heads * piece.keys * Dh, Dh, piece.key_heads * Dh, 1};
  }
  return result;
}

void add_attention(CudnnGraph& graph, const AttentionShapes& x, bool with_lse) {
  Builder build{graph, x};
  const Tensor q = graph.tensor(kQueries, x.dtype, {x.B, x.H, x.T, x.Dh}, x.q_strides);
  const Tensor k = graph.tensor(kKeys, x.dtype, {x.B, x.Hkv, x.Dh, x.S}, exchanged(x.k_strides));
  const Tensor v = graph.tensor(kValues, x.dtype, {x.B, x.Hkv, x.S, x.Dh}, x.v_strides);
  const Tensor out = graph.tensor(kOut, x.dtype, {x.B, x.H, x.T, x.Dh}, x.query_strides);
  const FourAxes rows = x.row_numbers();
  const Tensor lse = with_lse ? graph.tensor(kLse, CUDNN_DATA_FLOAT, rows, x.lse_strides)
                              : graph.inner(CUDNN_DATA_FLOAT, rows);
  const Tensor scores = build.masked(build.scaled(build.product(q, k, x.scores())));
  const Tensor most = graph.inner(CUDNN_DATA_FLOAT, rows);
  graph.reduce(CUDNN_REDUCE_TENSOR_MAX, most, scores);
  const Tensor shifted = build.binary(CUDNN_POINTWISE_SUB, scores, most, x.scores());
  const Tensor exponentials = build.unary(CUDNN_POINTWISE_EXP, shifted, x.scores());
  const Tensor total = graph.inner(CUDNN_DATA_FLOAT, rows);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, total, exponentials);
  graph.pointwise(CUDNN_POINTWISE_ADD, lse, most, build.unary(CUDNN_POINTWISE_LOG, total, rows));
  const Tensor probabilities = graph.inner(x.dtype, x.scores());
  graph.pointwise(CUDNN_POINTWISE_DIV, probabilities, exponentials, total);
  graph.matmul(probabilities, v, out);
}

void add_attention_backward(CudnnGraph& graph, const AttentionShapes& x, bool direct) {
  Builder build{graph, x};
  const FourAxes query_sizes{x.B, x.H, x.T, x.Dh};
  const FourAxes key_sizes{x.B, x.Hkv, x.S, x.Dh};
  const FourAxes rows = x.row_numbers();
  const Tensor q = graph.tensor(kQueries, x.dtype, query_sizes, x.q_strides);
  const Tensor k = graph.tensor(kKeys, x.dtype, exchanged(key_sizes), exchanged(x.k_strides));
  const Tensor v = graph.tensor(kValues, x.dtype, exchanged(key_sizes), exchanged(x.v_strides));
  const Tensor out = graph.tensor(kOut, x.dtype, query_sizes, x.query_strides);
  const Tensor dout = graph.tensor(kOutGradient, x.dtype, query_sizes, x.query_strides);
  const Tensor lse = graph.tensor(kLse, CUDNN_DATA_FLOAT, rows, x.lse_strides);
  const Tensor dq = graph.tensor(kQueryGradient, x.dtype, query_sizes, x.query_strides);
  const Tensor dk = graph.tensor(kKeyGradient, x.dtype, key_sizes, x.key_strides);
  const Tensor dv = graph.tensor(kValueGradient, x.dtype, key_sizes, x.key_strides);

  const Tensor products = build.binary(CUDNN_POINTWISE_MUL, dout, out, query_sizes);
  const Tensor sums = graph.inner(CUDNN_DATA_FLOAT, rows);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, sums, products);
  const Tensor row_sums = graph.tensor(kRowSums, CUDNN_DATA_FLOAT, rows, dense_strides(rows));
  graph.pointwise(CUDNN_POINTWISE_MUL, row_sums, sums,
                  graph.scalar(1.0F));  // of dropout, in the pattern

  Tensor scores = build.scaled(build.product(q, k, x.scores()));
  scores = build.masked(build.binary(CUDNN_POINTWISE_SUB, scores, lse, x.scores()));
  const Tensor probabilities = build.unary(CUDNN_POINTWISE_EXP, scores, x.scores());
  build.key_gradient(probabilities, dout, dv);

  Tensor gradients = build.product(dout, v, x.scores());
  gradients = build.binary(CUDNN_POINTWISE_SUB, gradients, row_sums, x.scores());
  gradients = build.scaled(build.binary(CUDNN_POINTWISE_MUL, gradients, probabilities, x.scores()));
  build.key_gradient(gradients, q, dk);

  const Tensor keys = graph.inner(x.dtype, key_sizes, x.k_strides);
  graph.reshape(keys, k);
  if (direct) {
    graph.matmul(gradients, keys, dq);
    return;
  }
  const Tensor dq_sums =
      graph.tensor(kQuerySums, CUDNN_DATA_FLOAT, query_sizes, dense_strides(query_sizes));
  graph.matmul(gradients, keys, dq_sums);
  graph.pointwise(CUDNN_POINTWISE_IDENTITY, dq, dq_sums);
}

}  // namespace wick::cuda
