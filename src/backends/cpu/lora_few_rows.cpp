#include "backends/cpu/lora_few_rows.hpp"

#include <algorithm>
#include <vector>

#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/gemm_plain.hpp"
#include "backends/cpu/scratch.hpp"
#include "layout/view_cast.hpp"

namespace wick::cpu {

namespace {

constexpr std::int64_t kMostRows = 4;
// Below, the tails of dot products cost more than they save.
constexpr std::int64_t kLeastDepth = 64;
// Of x, so that its rows stay in a first-level cache.
constexpr std::int64_t kDepth = 2048;
// Columns of out that are computed at once.
constexpr std::int64_t kColumns = 64;

// A layer and what its blocks share.
struct Layer {
  const LoraLinearArgs& args;
  std::int64_t M, K, N, R;
  const float* x;         // [M,K]
  const float* xa;        // [M,R], null without an adapter
  std::int64_t block_at;  // its first block among those of all layers

  Layer(const LoraLinearArgs& given, const float* rows, std::int64_t first_block)
      : args(given),
        M(given.x.dim(0)),
        K(given.x.dim(1)),
        N(given.w.dim(0)),
        R(given.a.dim(0)),
        x(rows),
        xa(nullptr),
        block_at(first_block) {}

  std::int64_t blocks() const { return (N + kColumns - 1) / kColumns; }
};

// c [M,N] = x wᵀ with the rows of w from `first` on.
void multiply(const float* x, std::int64_t M, std::int64_t K, const TensorView& w,
              std::int64_t first, std::int64_t N, float* c) {
  const auto size = static_cast<std::int64_t>(size_of(w.dtype));
  const std::byte* const rows = static_cast<const std::byte*>(w.data) + first * K * size;
  for (std::int64_t k = 0; k < K; k += kDepth) {
    multiply_tile(
        {.M = M,
         .N = N,
         .K = std::min(kDepth, K - k),
         .alpha = 1,
         .beta = k == 0 ? 0.0F : 1.0F,
         .a = x + k,
         .a_stride = K,
         .b = {.data = rows + k * size, .dtype = w.dtype, .row_stride = 1, .column_stride = K},
         .c = c,
         .c_stride = N});
  }
}

// c [M,N] += scale · xa bᵀ with the rows of b from `first` on; such as are not f32 are converted into `panel` first, since
// dot products of a small rank convert one element at a time.
void add_adapter(const Layer& layer, std::int64_t first, std::int64_t N, float* panel, float* c) {
  const std::int64_t R = layer.R;
  const TensorView& b = layer.args.b;
  const auto size = static_cast<std::int64_t>(size_of(b.dtype));
  const Operand rows{.data = static_cast<const std::byte*>(b.data) + first * R * size,
                     .dtype = b.dtype,
                     .row_stride = R};
  if (b.dtype != DType::kF32) panel_to_float(rows, N, R, panel);
  multiply_tile({.M = layer.M,
                 .N = N,
                 .K = R,
                 .alpha = layer.args.scale,
                 .beta = 1,
                 .a = layer.xa,
                 .a_stride = R,
                 .b = {.data = b.dtype == DType::kF32 ? rows.data : panel,
                       .row_stride = 1,
                       .column_stride = R},
                 .c = c,
                 .c_stride = N});
}

void add_bias(const Layer& layer, std::int64_t first, std::int64_t N, float* c) {
  float bias[kColumns];
  const TensorView& from = layer.args.bias;
  const auto size = static_cast<std::int64_t>(size_of(from.dtype));
  panel_to_float({.data = static_cast<const std::byte*>(from.data) + first * size,
                  .dtype = from.dtype,
                  .row_stride = N},
                 1, N, bias);
  for (std::int64_t i = 0; i < layer.M * N; ++i) c[i] += bias[i % N];
}

void run_block(const Layer& layer, std::int64_t block, float* panel) {
  const std::int64_t first = block * kColumns;
  const std::int64_t N = std::min(kColumns, layer.N - first);
  float sums[kMostRows * kColumns];
  multiply(layer.x, layer.M, layer.K, layer.args.w, first, N, sums);
  if (layer.xa != nullptr) add_adapter(layer, first, N, panel, sums);
  if (layer.args.bias) add_bias(layer, first, N, sums);
  const TensorView& out = layer.args.out;
  const auto size = static_cast<std::int64_t>(size_of(out.dtype));
  store_tile(sums, layer.M, N, 0,
             {.data = static_cast<std::byte*>(out.data) + first * size,
              .dtype = out.dtype,
              .row_stride = layer.N});
}

}  // namespace

bool takes_few_rows(std::span<const LoraLinearArgs> layers) {
  const LoraLinearArgs& first = layers.front();
  const std::int64_t M = first.x.dim(0);
  if (M < 1 || M > kMostRows || first.x.dim(1) < kLeastDepth) return false;
  return std::ranges::all_of(layers, [](const LoraLinearArgs& a) { return a.dropout_p == 0; }) &&
         gemm_variant() != GemmVariant::kLibrary;
}

void lora_few_rows(Stream& stream, std::span<const LoraLinearArgs> given) {
  const TensorView& shared = given.front().x;
  const std::int64_t M = shared.dim(0), K = shared.dim(1);
  const ScratchArray<float> x(stream, M * K);
  panel_to_float({.data = shared.data, .dtype = shared.dtype, .row_stride = K}, M, K, x.data());
  std::int64_t ranks = 0, largest = 0;
  for (const LoraLinearArgs& args : given) {
    ranks += args.a.dim(0);
    largest = std::max(largest, args.a.dim(0));
  }
  const ScratchArray<float> own_xa(stream, M * ranks);
  std::vector<Layer> layers;
  std::int64_t blocks = 0, rank_at = 0;
  for (const LoraLinearArgs& args : given) {
    Layer layer(args, x.data(), blocks);
    float* const xa = args.xa ? data_as<float>(args.xa) : own_xa.data() + M * rank_at;
    const bool adapts = args.scale != 0 && layer.R > 0;
    if (layer.R > 0 && (adapts || args.xa)) multiply(x.data(), M, K, args.a, 0, layer.R, xa);
    if (adapts) layer.xa = xa;
    layers.push_back(layer);
    blocks += layer.blocks();
    rank_at += layer.R;
  }
  // About 4 µs of reading from memory.
  constexpr std::int64_t kBytesForThread = 60'000;
  const auto size = static_cast<std::int64_t>(size_of(given.front().w.dtype));
  const std::int64_t grain = 1 + kBytesForThread / (kColumns * K * size);
  parallel_for(stream, blocks, grain, [&](std::int64_t begin, std::int64_t end) {
    const ScratchArray<float> panel(stream, kColumns * largest);
    for (std::int64_t i = begin; i < end; ++i) {
      const auto layer =
          std::ranges::find_if(layers, [&](const Layer& l) { return i < l.block_at + l.blocks(); });
      run_block(*layer, i - layer->block_at, panel.data());
    }
  });
}

}  // namespace wick::cpu
