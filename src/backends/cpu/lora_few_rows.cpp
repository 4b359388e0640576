#include "backends/cpu/lora_few_rows.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "backends/cpu/cpu_stream.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/gemm_plain.hpp"
#include "backends/cpu/scratch.hpp"
#include "base/platform.hpp"
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
  float* xa;              // [M,R]
  std::int64_t block_at;  // its first block among those of all layers

  std::int64_t blocks() const { return (N + kColumns - 1) / kColumns; }
  bool adapts() const { return args.scale != 0 && R > 0; }
  bool makes_xa() const { return R > 0 && (adapts() || args.xa); }
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

// Asks for the adapter's rows before the weight's are read: they are too few for processors to fetch them ahead.
void fetch_adapter(const Layer& layer, std::int64_t first, std::int64_t N) {
  constexpr std::int64_t kCacheLine = 64;
  const TensorView& b = layer.args.b;
  const std::int64_t row_bytes = layer.R * static_cast<std::int64_t>(size_of(b.dtype));
  const std::byte* const rows = static_cast<const std::byte*>(b.data) + first * row_bytes;
  for (std::int64_t i = 0; i < N * row_bytes; i += kCacheLine) __builtin_prefetch(rows + i);
}

void make_xa(const Layer& layer) {
  multiply(layer.x, layer.M, layer.K, layer.args.a, 0, layer.R, layer.xa);
}

// Waits for other threads, which have begun with what is missing.
void wait_for_xa(const std::atomic<std::int64_t>& missing) {
  constexpr int kSpins = 1000;
  for (int i = 0; missing > 0; ++i) {
    if (i < kSpins) {
      detail::pause_processor();
    } else {
      std::this_thread::yield();
    }
  }
}

// A block of those of all layers.
void run_block(const Layer& layer, std::int64_t block, const std::atomic<std::int64_t>& missing,
               float* panel) {
  const std::int64_t first = (block - layer.block_at) * kColumns;
  const std::int64_t N = std::min(kColumns, layer.N - first);
  float sums[kMostRows * kColumns];
  if (layer.adapts()) fetch_adapter(layer, first, N);
  multiply(layer.x, layer.M, layer.K, layer.args.w, first, N, sums);
  if (layer.adapts()) {
    wait_for_xa(missing);
    add_adapter(layer, first, N, panel, sums);
  }
  if (layer.args.bias) add_bias(layer, first, N, sums);
  const TensorView& out = layer.args.out;
  const auto size = static_cast<std::int64_t>(size_of(out.dtype));
  store_tile(sums, layer.M, N, 0,
             {.data = static_cast<std::byte*>(out.data) + first * size,
              .dtype = out.dtype,
              .row_stride = layer.N});
}

// All layers, x in f32 and room for xa of those that keep none.
class FewRows {
 public:
  FewRows(Stream& stream, std::span<const LoraLinearArgs> given)
      : x_(stream, given.front().x.numel()), xa_(stream, given.front().x.dim(0) * ranks_of(given)) {
    const TensorView& x = given.front().x;
    const std::int64_t M = x.dim(0), K = x.dim(1);
    panel_to_float({.data = x.data, .dtype = x.dtype, .row_stride = K}, M, K, x_.data());
    layers_.reserve(given.size());
    float* own_xa = xa_.data();
    for (const LoraLinearArgs& args : given) {
      const std::int64_t R = args.a.dim(0);
      float* const xa = args.xa ? data_as<float>(args.xa) : own_xa;
      layers_.push_back({args, M, K, args.w.dim(0), R, x_.data(), xa, blocks_});
      const Layer& layer = layers_.back();
      if (layer.makes_xa()) adapted_.push_back(&layer);
      if (args.b.dtype != DType::kF32) panel_floats_ = std::max(panel_floats_, kColumns * R);
      blocks_ += layer.blocks();
      own_xa += M * R;
    }
  }

  std::span<const Layer* const> adapted() const { return adapted_; }
  std::int64_t blocks() const { return blocks_; }
  std::int64_t panel_floats() const { return panel_floats_; }  // that add_adapter() needs
  const Layer& layer_of(std::int64_t block) const {
    return *std::ranges::find_if(
        layers_, [&](const Layer& layer) { return block < layer.block_at + layer.blocks(); });
  }

 private:
  static std::int64_t ranks_of(std::span<const LoraLinearArgs> given) {
    std::int64_t sum = 0;
    for (const LoraLinearArgs& args : given) sum += args.a.dim(0);
    return sum;
  }

  ScratchArray<float> x_, xa_;
  std::vector<Layer> layers_;
  std::vector<const Layer*> adapted_;
  std::int64_t blocks_ = 0, panel_floats_ = 0;
};

}  // namespace

bool takes_few_rows(std::span<const LoraLinearArgs> layers) {
  const LoraLinearArgs& first = layers.front();
  const std::int64_t M = first.x.dim(0);
  if (M < 1 || M > kMostRows || first.x.dim(1) < kLeastDepth) return false;
  return std::ranges::all_of(layers, [](const LoraLinearArgs& a) { return a.dropout_p == 0; }) &&
         gemm_variant() != GemmVariant::kLibrary;
}

void lora_few_rows(Stream& stream, std::span<const LoraLinearArgs> given) {
  const FewRows rows(stream, given);
  const std::int64_t adapters = std::ssize(rows.adapted());
  // About 4 µs of reading from memory.
  constexpr std::int64_t kBytesForThread = 60'000;
  const auto size = static_cast<std::int64_t>(size_of(given.front().w.dtype));
  const std::int64_t grain = 1 + kBytesForThread / (kColumns * given.front().x.dim(1) * size);
  std::atomic<std::int64_t> missing{adapters};
  // The first of them make xa, which the others need last.
  parallel_for(stream, adapters + rows.blocks(), grain, [&](std::int64_t begin, std::int64_t end) {
    const ScratchArray<float> panel(stream, rows.panel_floats());
    for (std::int64_t i = begin; i < end; ++i) {
      if (i < adapters) {
        make_xa(*rows.adapted()[static_cast<std::size_t>(i)]);
        --missing;
      } else {
        run_block(rows.layer_of(i - adapters), i - adapters, missing, panel.data());
      }
    }
  });
}

}  // namespace wick::cpu
