#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backends/cpu/cpu_kernels.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/lora_few_rows.hpp"
#include "backends/cpu/lora_split.hpp"
#include "backends/cpu/philox.hpp"
#include "backends/cpu/scratch.hpp"
#include "layout/view_cast.hpp"
#include "runtime/args/lora_linear_args.hpp"

namespace wick::cpu {

namespace {

// Everything here is a product for gemm(), which converts parts of W at a time: nothing of W's size
// is ever made. What is kept whole is x aᵀ and its gradient, [M,R] in f32.

// A dense matrix [rows, columns], and the same one transposed.
Operand matrix(const TensorView& x, std::int64_t columns) {
  return {.data = x.data, .dtype = x.dtype, .row_stride = columns};
}
Operand matrix(const float* x, std::int64_t columns) { return {.data = x, .row_stride = columns}; }
Operand transposed(Operand x) {
  std::swap(x.row_stride, x.column_stride);
  return x;
}

// A matrix of ones of any size.
Operand ones() {
  static constexpr float kOne = 1;
  return {.data = &kOne, .column_stride = 0};
}

Result result(const TensorView& c, std::int64_t columns) {
  return {.data = c.data, .dtype = c.dtype, .row_stride = columns};
}

// drop() on tiles of a matrix [M,K]: element i = m · K + k draws the i-th number of the stream.
class Dropout {
 public:
  Dropout(double p, const RandomKeyArgs& key, std::int64_t columns)
      : threshold_(dropout_threshold(p)),
        factor_(static_cast<float>(1.0 / (1.0 - p))),
        key_(philox_key(key.seed)),
        first_(first_counter(key)),
        columns_(columns) {}

  void operator()(const Tile& tile) const {
    for (std::int64_t m = 0; m < tile.rows; ++m) {
      drop(tile.data + m * tile.stride, (tile.row + m) * columns_ + tile.column, tile.columns);
    }
  }

 private:
  // Elements [element, element + n) of the matrix. Selected, not multiplied by 0, so that what is
  // dropped is zero even where it was infinite.
  void drop(float* x, std::int64_t element, std::int64_t n) const {
    constexpr std::int64_t kWords = 256;
    std::uint32_t words[kWords];
    while (n > 0) {
      const std::int64_t skipped = element % 4;  // of the first counter's words
      const std::int64_t count = std::min(n, kWords - skipped);
      draw_philox_words(key_, first_ + static_cast<std::uint64_t>(element / 4),
                        (skipped + count + 3) / 4, words);
      for (std::int64_t i = 0; i < count; ++i) {
        x[i] = uniform_bits(words[skipped + i]) >= threshold_ ? x[i] * factor_ : 0.0F;
      }
      x += count;
      element += count;
      n -= count;
    }
  }

  std::uint32_t threshold_;
  float factor_;
  PhiloxKey key_;
  std::uint64_t first_;
  std::int64_t columns_;
};

// xa [M,R] = drop(x) aᵀ.
void multiply_by_a(Stream& stream, const Operand& dropped_x, const TensorView& a, std::int64_t M,
                   float* xa) {
  const std::int64_t R = a.dim(0);
  const std::int64_t K = a.dim(1);
  if (dropped_x.map == nullptr && splits_adapter(dropped_x.dtype, a.dtype, M)) {
    const SplitMatrix parts(stream, data_as<const float>(a), R, K, kHighLow, PartsLayout::kStacked);
    return multiply_split(stream, dropped_x, transposed(parts.operand()), M, R, K, xa);
  }
  const Term terms[] = {{.a = dropped_x, .b = transposed(matrix(a, K)), .K = K}};
  gemm(stream, {.M = M, .N = R, .terms = terms, .c = {.data = xa, .row_stride = R}},
       gemm_variant());
}

// The sizes and operands that the gradients of a layer share, and g [M,R] = dy b where dx or da needs it.
struct Backward {
  Backward(Stream& stream, const LoraLinearBackwardArgs& given, const TileFunction* dropping)
      : args(given),
        drop(dropping),
        M(given.dy.dim(0)),
        N(given.dy.dim(1)),
        K(given.a.dim(1)),
        R(given.a.dim(0)),
        dy(matrix(given.dy, N)),
        dropped_x(matrix(given.x, K)),
        variant(gemm_variant()),
        splits(R > 0 && given.scale != 0 && splits_adapter(given.dy.dtype, given.a.dtype, M)),
        g(stream, R > 0 && given.scale != 0 && (given.dx || given.da) ? M * R : 0) {
    dropped_x.map = drop;
    if (g.data() == nullptr) return;
    if (splits) {
      split_g(stream);
      return;
    }
    const Term terms[] = {{.a = dy, .b = matrix(args.b, R), .K = N}};
    gemm(stream, {.M = M, .N = R, .terms = terms, .c = {.data = g.data(), .row_stride = R}},
         variant);
  }

  // As below, and the parts that dx is made of.
  void split_g(Stream& stream) {
    const float* const b = data_as<const float>(args.b);
    const SplitMatrix parts(stream, b, N, R, kHighLow, PartsLayout::kSideBySide);
    multiply_split(stream, dy, parts.operand(), M, R, N, g.data());
    if (!args.dx) return;
    g_parts.emplace(stream, g.data(), M, R, kLeftParts, PartsLayout::kSideBySide, args.scale);
    a_parts.emplace(stream, data_as<const float>(args.a), R, K, kRightParts, PartsLayout::kStacked);
  }

  // scale · g a.
  Term adapter_term() const {
    if (!splits) {
      return {.a = matrix(g.data(), R),
              .b = matrix(args.a, K),
              .K = R,
              .alpha = args.scale,
              .map_sum = drop};
    }
    return {.a = g_parts->operand(), .b = a_parts->operand(), .K = 3 * R, .map_sum = drop};
  }

  const LoraLinearBackwardArgs& args;
  const TileFunction* drop;  // null without dropout
  std::int64_t M, N, K, R;
  Operand dy, dropped_x;
  GemmVariant variant;
  bool splits;
  ScratchArray<float> g;
  std::optional<SplitMatrix> g_parts, a_parts;
};

// dx [M,K] = Σ drop'(scale · g a) + dy w over the layers: an adapter's part first, so that the mask meets it alone.
void input_gradient(Stream& stream, std::span<const Backward* const> layers) {
  const Backward& first = *layers.front();
  std::vector<Term> terms;
  for (const Backward* layer : layers) {
    const Backward& b = *layer;
    terms.push_back(b.adapter_term());
    terms.push_back({.a = b.dy, .b = matrix(b.args.w, b.K), .K = b.N});
  }
  gemm(stream, {.M = first.M, .N = first.K, .terms = terms, .c = result(first.args.dx, first.K)},
       first.variant);
}

// da [R,K] = scale · gᵀ drop(x).
void a_gradient(Stream& stream, const Backward& b) {
  if (b.splits && b.drop == nullptr) {
    return split_gradient(stream, {.M = b.M,
                                   .N = b.K,
                                   .R = b.R,
                                   .scale = b.args.scale,
                                   .a = b.g.data(),
                                   .b = b.dropped_x,
                                   .out = data_as<float>(b.args.da),
                                   .transposed = false});
  }
  const Term terms[] = {{.a = transposed(matrix(b.g.data(), b.R)),
                         .b = b.dropped_x,
                         .K = b.M,
                         .alpha = b.args.scale}};
  gemm(stream, {.M = b.R, .N = b.K, .terms = terms, .c = result(b.args.da, b.K)}, b.variant);
}

// db [N,R] = scale · dyᵀ xa.
void b_gradient(Stream& stream, const Backward& b) {
  const bool make_xa = !b.args.xa && b.args.scale != 0;
  const ScratchArray<float> own_xa(stream, make_xa ? b.M * b.R : 0);
  if (make_xa) multiply_by_a(stream, b.dropped_x, b.args.a, b.M, own_xa.data());
  const float* const xa = b.args.xa ? data_as<const float>(b.args.xa) : own_xa.data();
  if (b.splits) {
    return split_gradient(stream, {.M = b.M,
                                   .N = b.N,
                                   .R = b.R,
                                   .scale = b.args.scale,
                                   .a = xa,
                                   .b = b.dy,
                                   .out = data_as<float>(b.args.db),
                                   .transposed = true});
  }
  const Term terms[] = {
      {.a = transposed(b.dy), .b = matrix(xa, b.R), .K = b.M, .alpha = b.args.scale}};
  gemm(stream, {.M = b.N, .N = b.R, .terms = terms, .c = result(b.args.db, b.R)}, b.variant);
}

// dbias [N] = Σ dy over rows, as a row of ones times dy.
void bias_gradient(Stream& stream, const Backward& b) {
  const Term terms[] = {{.a = ones(), .b = b.dy, .K = b.M}};
  gemm(stream, {.M = 1, .N = b.N, .terms = terms, .c = result(b.args.dbias, b.N)}, b.variant);
}

// The gradients of the parameters of a layer.
void parameter_gradients(Stream& stream, const Backward& b) {
  if (b.args.da) a_gradient(stream, b);
  if (b.args.db) b_gradient(stream, b);
  if (b.args.dbias) bias_gradient(stream, b);
}

}  // namespace

// x [M,K], w [N,K], bias [N], a [R,K], b [N,R] → out [M,N], xa [M,R]: one product of three terms,
// whose sum is rounded once. A task owns blocks of out: see gemm().
KernelStatus lora_linear(Stream& stream, const LoraLinearArgs& args) {
  if (takes_few_rows({&args, 1})) {
    lora_few_rows(stream, {&args, 1});
    return KernelStatus::ok();
  }
  const std::int64_t M = args.x.dim(0);
  const std::int64_t K = args.x.dim(1);
  const std::int64_t N = args.w.dim(0);
  const std::int64_t R = args.a.dim(0);
  const Operand x = matrix(args.x, K);
  const bool needs_xa = args.xa || args.scale != 0;
  const ScratchArray<float> own_xa(stream, needs_xa && !args.xa ? M * R : 0);
  float* const xa = args.xa ? data_as<float>(args.xa) : own_xa.data();
  if (needs_xa) {
    const Dropout dropout(args.dropout_p, args.key, K);
    const TileFunction drop = dropout;
    Operand dropped_x = x;
    if (args.dropout_p > 0) dropped_x.map = &drop;
    multiply_by_a(stream, dropped_x, args.a, M, xa);
  }
  Term adapter{.a = matrix(xa, R), .b = transposed(matrix(args.b, R)), .K = R, .alpha = args.scale};
  std::optional<SplitMatrix> xa_parts, b_parts;
  if (R > 0 && args.scale != 0 && splits_adapter(args.x.dtype, args.b.dtype, M)) {
    const float* const b = data_as<const float>(args.b);
    xa_parts.emplace(stream, xa, M, R, kLeftParts, PartsLayout::kSideBySide, args.scale);
    b_parts.emplace(stream, b, N, R, kRightParts, PartsLayout::kSideBySide);
    adapter = {.a = xa_parts->operand(), .b = transposed(b_parts->operand()), .K = 3 * R};
  }
  const Term terms[] = {{.a = x, .b = transposed(matrix(args.w, K)), .K = K},
                        adapter,
                        {.a = ones(), .b = matrix(args.bias, N), .K = args.bias ? 1 : 0}};
  gemm(stream, {.M = M, .N = N, .terms = terms, .c = result(args.out, N)}, gemm_variant());
  return KernelStatus::ok();
}

// dy [M,N], x [M,K], w [N,K], a [R,K], b [N,R], xa [M,R] → dx [M,K], da [R,K], db [N,R], dbias [N].
// Each gradient is a product of its own; a task owns blocks of one: see gemm().
KernelStatus lora_linear_backward(Stream& stream, const LoraLinearBackwardArgs& args) {
  const Dropout dropout(args.dropout_p, args.key, args.a.dim(1));
  const TileFunction drop = dropout;
  const Backward layer(stream, args, args.dropout_p > 0 ? &drop : nullptr);
  const Backward* const layers[] = {&layer};
  if (args.dx) input_gradient(stream, layers);
  parameter_gradients(stream, layer);
  return KernelStatus::ok();
}

// As lora_linear, layer by layer, but for a few rows.
KernelStatus lora_linears(Stream& stream, const LoraLinearsArgs& args) {
  if (takes_few_rows(args.parts())) {
    lora_few_rows(stream, args.parts());
    return KernelStatus::ok();
  }
  for (const LoraLinearArgs& layer : args.parts()) lora_linear(stream, layer);
  return KernelStatus::ok();
}

// As lora_linear_backward, layer by layer; dx [M,K] is one product over all.
KernelStatus lora_linears_backward(Stream& stream, const LoraLinearsBackwardArgs& args) {
  std::vector<std::unique_ptr<Backward>> layers;
  std::vector<const Backward*> seen;
  for (const LoraLinearBackwardArgs& layer : args.parts()) {
    layers.push_back(std::make_unique<Backward>(stream, layer, nullptr));
    seen.push_back(layers.back().get());
  }
  if (args.parts().front().dx) input_gradient(stream, seen);
  for (const Backward* layer : seen) parameter_gradients(stream, *layer);
  return KernelStatus::ok();
}

// The activation is a kernel of its own here.
KernelStatus lora_swiglu(Stream& /*stream*/, const LoraSwigluArgs& /*args*/) {
  return KernelStatus::unsupported("swiglu in a product's end");
}

KernelStatus lora_swiglu_backward(Stream& /*stream*/, const LoraSwigluBackwardArgs& /*args*/) {
  return KernelStatus::unsupported("swiglu in a product's end");
}

}  // namespace wick::cpu
