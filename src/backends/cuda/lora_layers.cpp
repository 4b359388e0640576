#include "backends/cuda/lora_layers.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_stream.hpp"
#include "backends/cuda/hopper_lora.hpp"
#include "backends/cuda/hopper_thin.hpp"
#include "backends/cuda/small_copies.hpp"
#include "backends/cuda/thin_products.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cuda {

namespace {

constexpr std::int64_t kMostRankTogether = 64;  // of one thin product

// Memory in whole units of 16 bytes, cut into parts from the front.
class Parts {
 public:
  Parts(Stream& stream, std::int64_t elements)
      : memory_(stream, static_cast<std::size_t>(elements) * 2) {}

  void* take(std::int64_t elements) {
    char* const begin = static_cast<char*>(memory_.data()) + taken_;
    taken_ += elements * 2;
    return begin;
  }

 private:
  Scratch memory_;
  std::int64_t taken_ = 0;
};

// Columns [at, …) of a dense matrix of 16-bit elements.
Matrix columns_from(void* data, DType dtype, std::int64_t columns, std::int64_t at) {
  Matrix m = rows_of(data, dtype, columns);
  m.data = static_cast<char*>(data) + 2 * at;
  return m;
}

template <class Args>
std::int64_t ranks_of(std::span<const Args> layers) {
  std::int64_t sum = 0;
  for (const Args& layer : layers) sum += layer.a.dim(0);
  return sum;
}

bool aligned_ranks(const auto& layers) {
  return std::ranges::all_of(layers, [](const auto& layer) {
    return layer.dropout_p == 0 && layer.a.dim(0) > 0 && layer.a.dim(0) % 8 == 0;
  });
}

// The products of ranges with one x: together where that many ranks are taken, else each by itself.
std::vector<ThinProducts> split_ranks(const ThinProducts& whole) {
  if (whole.total_rank() <= kMostRankTogether) return {whole};
  std::vector<ThinProducts> each;
  std::int64_t at = 0;
  const auto element = [](const Matrix& m, std::int64_t offset) {
    return static_cast<char*>(m.data) + offset * static_cast<std::int64_t>(size_of(m.dtype));
  };
  for (int i = 0; i < whole.count; ++i) {
    ThinProducts one = whole;
    one.ranges = {whole.ranges[static_cast<std::size_t>(i)]};
    one.count = 1;
    if (one.t.data != nullptr) one.t.data = element(whole.t, at * whole.t.column_stride);
    if (one.p != nullptr) one.p = static_cast<char*>(whole.p) + 2 * at;
    if (one.g.data != nullptr) one.g.data = element(whole.g, at);
    at += one.ranges[0].R;
    each.push_back(one);
  }
  return each;
}

std::string first_refusal(std::span<const ThinProducts> products) {
  for (const ThinProducts& product : products) {
    std::string reason = thin_refusal(product);
    if (!reason.empty()) return reason;
  }
  return {};
}

HopperLora product_of(std::span<const LoraLinearArgs> layers) {
  const TensorView& x = layers.front().x;
  HopperLora product{.M = x.dim(0), .dtype = x.dtype, .parts = {}, .makes_p = true};
  for (const LoraLinearArgs& layer : layers) {
    product.parts[static_cast<std::size_t>(product.count++)] = {
        .N = layer.w.dim(0),
        .K = x.dim(1),
        .R = layer.a.dim(0),
        .x = rows_of(x),
        .w = transposed(rows_of(layer.w)),
        .p = {},
        .bias = layer.bias ? layer.bias.data : nullptr,
        .out = layer.out.data};
  }
  return product;
}

HopperLora product_of(std::span<const LoraLinearBackwardArgs> layers) {
  const TensorView& dy = layers.front().dy;
  HopperLora product{.M = dy.dim(0), .dtype = dy.dtype, .parts = {}, .sums_parts = true};
  for (const LoraLinearBackwardArgs& layer : layers) {
    product.parts[static_cast<std::size_t>(product.count++)] = {
        .N = layer.a.dim(1),
        .K = layer.dy.dim(1),
        .R = layer.a.dim(0),
        .x = rows_of(layer.dy),
        .w = rows_of(layer.w),
        .p = {},
        .out = layer.dx ? layer.dx.data : nullptr};
  }
  return product;
}

// What the adapters ask for backwards beside the wide product, whose p = g and s they complete.
struct Sides {
  // g [M,R] is for all layers; `memory` still has room for the adapters' A and B.
  Sides(std::span<const LoraLinearBackwardArgs> layers, void* g, std::int64_t R, Parts& memory,
        HopperLora& product) {
    const TensorView& x = layers.front().x;
    inner = {.M = x.dim(0),
             .C = x.dim(1),
             .x = x.data,
             .dtype = x.dtype,
             .ranges = {},
             .count = 0,
             .t = {},
             .g = rows_of(g, x.dtype, R)};
    std::int64_t at = 0;
    for (const LoraLinearBackwardArgs& layer : layers) {
      const std::int64_t r = layer.a.dim(0);
      HopperPart& part = product.parts[static_cast<std::size_t>(inner.count)];
      part.p = columns_from(g, x.dtype, R, at);
      part.s = memory.take(r * inner.C);
      copies.add({.from = transposed(rows_of(layer.a)),
                  .rows = inner.C,
                  .columns = r,
                  .to = part.s,
                  .scale = layer.scale});
      void* const b = memory.take(layer.b.numel());
      copies.add({.from = rows_of(layer.b), .rows = layer.b.dim(0), .columns = r, .to = b});
      outer.push_back({.M = inner.M,
                       .C = layer.dy.dim(1),
                       .x = layer.dy.data,
                       .dtype = x.dtype,
                       .ranges = {ThinRange{.R = r, .d = rows_of(layer.db), .scale = layer.scale}},
                       .t = rows_of(b, x.dtype, r),
                       .p = part.p.data,
                       .p_row_stride = R,
                       .g = rows_of(layer.xa)});
      inner.ranges[static_cast<std::size_t>(inner.count++)] = {
          .R = r, .d = transposed(rows_of(layer.da)), .scale = layer.scale};
      at += r;
    }
  }

  std::vector<ThinProducts> outer;  // g and db, one pass over each dy
  ThinProducts inner;               // da, one pass over x
  SmallCopies copies;
};

// Whether the variant that is forced, if any, is one of those that end in swiglu.
bool forbids_swiglu() {
  const std::string forced = forced_variant("lora_linear");
  return forced.starts_with("hopper_224") || forced.starts_with("hopper_64");
}

KernelStatus multiply_forward(Stream& stream, std::span<const LoraLinearArgs> layers,
                              HopperLora& product) {
  const std::string reason = hopper_lora_refusal(stream, product);
  if (!reason.empty()) return KernelStatus::unsupported(reason);

  const TensorView& x = layers.front().x;
  const std::int64_t M = x.dim(0);
  const std::int64_t K = x.dim(1);
  const std::int64_t R = ranks_of(layers);
  const std::int64_t row_tiles = hopper_row_tiles(M);
  const std::int64_t words = row_tiles * product.count;
  std::int64_t elements = M * R + R * K + 2 * words;
  for (const LoraLinearArgs& layer : layers) elements += layer.b.numel();
  Parts memory(stream, elements);
  void* const p = memory.take(M * R);
  SmallCopies copies;
  std::int64_t at = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {  // the a of all layers lie one behind the other
    const LoraLinearArgs& layer = layers[i];
    HopperPart& part = product.parts[i];
    part.p = columns_from(p, x.dtype, R, at);
    part.p_f32 = layer.xa ? static_cast<float*>(layer.xa.data) : nullptr;
    part.a = memory.take(part.R * K);
    copies.add({.from = rows_of(layer.a), .rows = part.R, .columns = K, .to = part.a});
    at += part.R;
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    HopperPart& part = product.parts[i];
    part.s = memory.take(part.N * part.R);
    copies.add({.from = rows_of(layers[i].b),
                .rows = part.N,
                .columns = part.R,
                .to = part.s,
                .scale = layers[i].scale});
  }
  copies.zeros = static_cast<unsigned*>(memory.take(2 * words));
  copies.zero_count = words;
  for (int i = 0; i < product.count; ++i) {
    product.parts[static_cast<std::size_t>(i)].made = copies.zeros + i * row_tiles;
  }
  copy_small(stream, copies, x.dtype);
  return multiply_hopper_lora(stream, product);
}

// By the kernel of Hopper where it takes the products.
KernelStatus multiply_thin_by_any(Stream& stream, std::span<const ThinProducts> products,
                                  ThinSums& sums, bool early) {
  const KernelStatus status = multiply_hopper_thin(stream, products, sums, early);
  return status.is_unsupported() ? multiply_thin(stream, products, sums) : status;
}

// dx, or what the product makes in its place, is wanted where `wants_product` is set.
KernelStatus multiply_backward(Stream& stream, std::span<const LoraLinearBackwardArgs> layers,
                               HopperLora& product, bool wants_product) {
  const bool all_wanted = std::ranges::all_of(
      layers, [](const auto& layer) { return layer.da && layer.db && layer.xa; });
  if (!aligned_ranks(layers) || !all_wanted) {
    return KernelStatus::unsupported("dropout, odd ranks or missing gradients");
  }
  std::string reason = hopper_lora_refusal(stream, product);
  if (!reason.empty()) return KernelStatus::unsupported(reason);

  const TensorView& x = layers.front().x;
  const std::int64_t M = x.dim(0);
  const std::int64_t R = ranks_of(layers);
  std::int64_t b_elements = 0;
  for (const LoraLinearBackwardArgs& layer : layers) b_elements += layer.b.numel();
  Parts memory(stream, M * R + R * x.dim(1) + b_elements);
  const Sides sides(layers, memory.take(M * R), R, memory, product);
  const std::vector<ThinProducts> inners = split_ranks(sides.inner);
  reason = first_refusal(sides.outer) + first_refusal(inners);
  if (!reason.empty()) return KernelStatus::unsupported(reason);

  copy_small(stream, sides.copies, x.dtype);
  // One launch makes the gradients of all adapters, unless the product has yet to make x.
  std::vector<ThinProducts> all = sides.outer;
  all.insert(all.end(), inners.begin(), inners.end());
  const bool in_one = product.h_again == nullptr && hopper_thin_refusal(stream, all).empty();
  ThinSums sums;
  KernelStatus status = multiply_thin_by_any(stream, in_one ? all : sides.outer, sums, true);
  if (status.is_ok() && wants_product) status = multiply_hopper_lora(stream, product);
  if (status.is_ok() && !in_one) status = multiply_thin_by_any(stream, inners, sums, false);
  sums.finish(stream, in_one && wants_product);
  return status;
}

}  // namespace

KernelStatus forward_together(Stream& stream, std::span<const LoraLinearArgs> layers) {
  if (!aligned_ranks(layers)) return KernelStatus::unsupported("dropout, or odd ranks");
  HopperLora product = product_of(layers);
  return multiply_forward(stream, layers, product);
}

KernelStatus backward_together(Stream& stream, std::span<const LoraLinearBackwardArgs> layers) {
  HopperLora product = product_of(layers);
  return multiply_backward(stream, layers, product, static_cast<bool>(layers.front().dx));
}

KernelStatus forward_with_swiglu(Stream& stream, const LoraSwigluArgs& args) {
  const std::array layers{args.gate, args.up};
  if (forbids_swiglu() || !aligned_ranks(layers)) {
    return KernelStatus::unsupported("odd ranks, or a variant without swiglu");
  }
  HopperLora product = product_of(std::span<const LoraLinearArgs>(layers));
  product.h = args.h.data;
  return multiply_forward(stream, layers, product);
}

KernelStatus backward_with_swiglu(Stream& stream, const LoraSwigluBackwardArgs& args) {
  if (forbids_swiglu()) return KernelStatus::unsupported("a variant without swiglu");
  const std::span layers(&args.down, 1);
  HopperLora product = product_of(layers);
  product.gate = args.gate.data;
  product.up = args.up.data;
  product.dgate = args.dgate.data;
  product.dup = args.dup.data;
  if (args.makes_h) product.h_again = args.down.x.data;
  return multiply_backward(stream, layers, product, true);
}

}  // namespace wick::cuda
