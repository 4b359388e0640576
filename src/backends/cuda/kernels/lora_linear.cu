#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/dense_products.hpp"
#include "backends/cuda/elementwise.cuh"
#include "backends/cuda/few_rows.hpp"
#include "backends/cuda/lora_layers.hpp"
#include "backends/cuda/random.cuh"
#include "backends/cuda/strided.cuh"
#include "backends/cuda/thin_products.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/random_args.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/layer_by_layer.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::cuda {

namespace {

// The adapter's products run in x's dtype, so that the tensor cores take them: its f32 parameters, and x aᵀ,
// are rounded to it on the way in, and sums are f32.

std::size_t bytes_of(std::int64_t count, DType dtype) {
  return static_cast<std::size_t>(count) * size_of(dtype);
}

// A small matrix [rows, columns] in the dtype asked for: itself, or a copy while this lives.
class As {
 public:
  As(Stream& stream, const Matrix& given, DType dtype, std::int64_t count) : matrix_(given) {
    if (given.data == nullptr || given.dtype == dtype) return;
    copy_.emplace(stream, bytes_of(count, dtype));
    convert(stream, given.data, given.dtype, copy_->data(), dtype, count);
    matrix_.data = copy_->data();
    matrix_.dtype = dtype;
  }
  const Matrix& matrix() const noexcept { return matrix_; }

 private:
  Matrix matrix_;
  std::optional<Scratch> copy_;
};

// drop(x) for a matrix: x itself without dropout, else a copy while this lives.
class Dropped {
 public:
  Dropped(Stream& stream, const TensorView& x, double p, const RandomKeyArgs& key)
      : matrix_(rows_of(x)) {
    if (p == 0) return;
    copy_.emplace(stream, bytes_of(x.numel(), x.dtype));
    TensorView out = x;
    out.data = copy_->data();
    const KernelStatus status = dropout(stream, {.x = x, .out = out, .key = key, .p = p});
    detail::check(status.is_ok(), "dropout was refused");
    matrix_.data = copy_->data();
  }
  const Matrix& matrix() const noexcept { return matrix_; }

 private:
  Matrix matrix_;
  std::optional<Scratch> copy_;
};

// out[i] += drop'(update[i]), where drop' uses the same numbers as drop did.
template <class T>
__global__ void add_dropped_kernel(DropoutRule rule, std::int64_t n, const float* update, T* out) {
  constexpr int kWords = 4;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x * kWords;
  std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kWords;
  for (; i < n; i += step) {
    const PhiloxCounter words = words_of(rule.key, i);
#pragma unroll
    for (int k = 0; k < kWords; ++k) {
      if (i + k >= n) return;
      out[i + k] = from_float<T>(to_float(out[i + k]) + rule.apply(words[k], update[i + k]));
    }
  }
}

// The first failure of several launches; the later ones are not made.
class Steps {
 public:
  Steps& then(const auto& enqueue) {
    if (status_.is_ok()) status_ = enqueue();
    return *this;
  }
  KernelStatus status() const { return status_; }

 private:
  KernelStatus status_ = KernelStatus::ok();
};

struct Sizes {
  std::int64_t M, N, K, R;
};

// ---- The adapter's side -------------------------------------------------------------------------

// As multiply_thin() for one adapter, by products of whole matrices.
KernelStatus plain_thin(Stream& stream, const ThinProducts& p) {
  const ThinRange& range = p.ranges[0];
  const std::int64_t R = range.R;
  const Matrix x = rows_of(p.x, p.dtype, p.C);
  const As t(stream, p.t, p.dtype, p.C * R);
  const As g(stream, p.g, p.dtype, p.M * R);
  Steps steps;
  if (p.t.data != nullptr) {
    const bool in_f32 = range.p_f32 != nullptr;
    steps.then([&] {
      return multiply(stream, {.M = p.M,
                               .N = R,
                               .K = p.C,
                               .a = x,
                               .b = t.matrix(),
                               .c = in_f32 ? range.p_f32 : p.p,
                               .c_dtype = in_f32 ? DType::kF32 : p.dtype,
                               .c_row_stride = R});
    });
  }
  if (p.g.data != nullptr) {
    const bool along_rank = range.d.column_stride == 1;
    const Matrix xt = transposed(x);
    const Matrix gt = transposed(g.matrix());
    steps.then([&] {
      return multiply(stream, {.M = along_rank ? p.C : R,
                               .N = along_rank ? R : p.C,
                               .K = p.M,
                               .a = along_rank ? xt : gt,
                               .b = along_rank ? g.matrix() : x,
                               .c = range.d.data,
                               .c_dtype = range.d.dtype,
                               .c_row_stride = along_rank ? R : p.C,
                               .alpha = range.scale});
    });
  }
  return steps.status();
}

// p = x t and d = scale · xᵀ g, as in ThinProducts, for one adapter.
KernelStatus adapter_products(Stream& stream, const ThinProducts& products) {
  const std::string forced = forced_variant("lora_linear");
  if (forced != "plain") {
    ThinSums sums;
    KernelStatus status = multiply_thin(stream, std::span(&products, 1), sums);
    sums.finish(stream);
    if (!status.is_unsupported() || forced == "thin") return status;
  }
  return plain_thin(stream, products);
}

// xa [M,R] = x aᵀ in f32.
KernelStatus make_xa(Stream& stream, const TensorView& a, const Sizes& s, const Matrix& x,
                     float* xa) {
  return adapter_products(stream, {.M = s.M,
                                   .C = s.K,
                                   .x = x.data,
                                   .dtype = x.dtype,
                                   .ranges = {ThinRange{.R = s.R, .p_f32 = xa, .d = {}}},
                                   .t = transposed(rows_of(a)),
                                   .g = {}});
}

// As add_thin(), by a product of whole matrices.
KernelStatus plain_update(Stream& stream, const ThinUpdate& u) {
  const As p(stream, u.p, u.dtype, u.M * u.R);
  const As s(stream, u.s, u.dtype, u.R * u.N);
  return multiply(stream, {.M = u.M,
                           .N = u.N,
                           .K = u.R,
                           .a = p.matrix(),
                           .b = s.matrix(),
                           .c = u.y,
                           .c_dtype = u.dtype,
                           .c_row_stride = u.N,
                           .alpha = u.scale,
                           .beta = 1});
}

// y += scale · p s.
KernelStatus adapter_update(Stream& stream, const ThinUpdate& update) {
  const std::string forced = forced_variant("lora_linear");
  if (forced != "plain") {
    KernelStatus status = add_thin(stream, update);
    if (!status.is_unsupported() || forced == "thin") return status;
  }
  return plain_update(stream, update);
}

// ---- Gradients ----------------------------------------------------------------------------------

// dx [M,K] = dy w + scale · drop'(g a).
KernelStatus input_gradient(Stream& stream, const LoraLinearBackwardArgs& args, const Sizes& s,
                            const Matrix& g) {
  const Product base{.M = s.M,
                     .N = s.K,
                     .K = s.N,
                     .a = rows_of(args.dy),
                     .b = rows_of(args.w),
                     .c = args.dx.data,
                     .c_dtype = args.dx.dtype,
                     .c_row_stride = s.K};
  const KernelStatus status = multiply(stream, base);
  if (!status.is_ok() || s.R == 0 || args.scale == 0) return status;
  if (args.dropout_p == 0) {
    return adapter_update(stream, {.M = s.M,
                                   .N = s.K,
                                   .R = s.R,
                                   .y = args.dx.data,
                                   .dtype = args.dx.dtype,
                                   .p = g,
                                   .s = rows_of(args.a),
                                   .scale = args.scale});
  }
  const Scratch whole(stream, bytes_of(s.M * s.K, DType::kF32));
  const As a(stream, rows_of(args.a), g.dtype, s.R * s.K);
  const KernelStatus update = multiply(stream, {.M = s.M,
                                                .N = s.K,
                                                .K = s.R,
                                                .a = g,
                                                .b = a.matrix(),
                                                .c = whole.data(),
                                                .c_dtype = DType::kF32,
                                                .c_row_stride = s.K,
                                                .alpha = args.scale});
  if (!update.is_ok()) return update;
  switch_floating(args.dx.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &add_dropped_kernel<T>, grid_of(stream, s.M * s.K, 1024, 16), 256, 0,
              dropout_rule(args.dropout_p, args.key), s.M * s.K,
              static_cast<const float*>(whole.as<float>()), data_of<T>(args.dx));
  });
  return KernelStatus::ok();
}

// dbias [N] = Σ dy over rows.
KernelStatus bias_gradient(Stream& stream, const LoraLinearBackwardArgs& args) {
  TensorView columns = args.dy;
  columns.shape = Shape{args.dy.dim(1), args.dy.dim(0)};
  columns.strides = {1, args.dy.dim(1)};
  if (args.dbias.dtype == args.dy.dtype) {
    return sum(stream, {.x = columns, .out = args.dbias, .num_reduced = 1});
  }
  const Scratch total(stream, bytes_of(args.dy.dim(1), args.dy.dtype));
  TensorView out = args.dbias;
  out.data = total.data();
  out.dtype = args.dy.dtype;
  KernelStatus status = sum(stream, {.x = columns, .out = out, .num_reduced = 1});
  if (status.is_ok()) {
    convert(stream, out.data, out.dtype, args.dbias.data, args.dbias.dtype, out.numel());
  }
  return status;
}

// ---- Forward ------------------------------------------------------------------------------------

// Layers as products of few rows, with the memory they need for the time of a call.
class FewRowsLayers {
 public:
  // Why they are none, empty when they are.
  std::string add(std::span<const LoraLinearArgs> layers) {
    for (const LoraLinearArgs& layer : layers) {
      if (layer.dropout_p != 0) return "dropout";
      products_.push_back({.M = layer.x.dim(0),
                           .N = layer.w.dim(0),
                           .K = layer.x.dim(1),
                           .R = layer.a.dim(0),
                           .x = layer.x.data,
                           .x_dtype = layer.x.dtype,
                           .w = layer.w.data,
                           .w_dtype = layer.w.dtype,
                           .a = layer.a.data,
                           .a_dtype = layer.a.dtype,
                           .xa = data_of<float>(layer.xa),
                           .b = layer.b.data,
                           .b_dtype = layer.b.dtype,
                           .out = layer.out.data,
                           .out_dtype = layer.x.dtype,
                           .scale = layer.scale});
    }
    if (!takes_few_rows(products_)) return "not a few rows of 16-byte packs";
    const bool is_free = forced_variant("lora_linear").empty();
    if (is_free && std::ranges::any_of(products_, is_better_by_cublaslt)) {
      return "more than two rows of a large matrix";
    }
    return {};
  }

  // Makes what the products need besides.
  std::span<const FewRows> prepare(Stream& stream, std::span<const LoraLinearArgs> layers) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      FewRows& product = products_[i];
      const TensorView& bias = layers[i].bias;
      if (product.xa == nullptr && product.R > 0) {
        memory_.push_back(
            std::make_unique<Scratch>(stream, bytes_of(product.M * product.R, DType::kF32)));
        product.xa = memory_.back()->as<float>();
      }
      if (!bias) continue;
      const Matrix given{.data = bias.data, .dtype = bias.dtype};
      biases_.push_back(std::make_unique<As>(stream, given, product.x_dtype, product.N));
      product.bias = biases_.back()->matrix().data;
    }
    return products_;
  }

 private:
  std::vector<FewRows> products_;
  std::vector<std::unique_ptr<Scratch>> memory_;
  std::vector<std::unique_ptr<As>> biases_;
};

// The few rows of decoding: everything in one pass over the weights of all layers.
KernelStatus few_rows(Stream& stream, std::span<const LoraLinearArgs> layers) {
  FewRowsLayers own;
  const std::string refusal = own.add(layers);
  if (!refusal.empty()) return KernelStatus::unsupported(refusal);
  return multiply_few_rows(stream, own.prepare(stream, layers));
}

// One row by gate and up, and its swiglu where their results are.
KernelStatus few_rows_swiglu(Stream& stream, const LoraSwigluArgs& args) {
  if (args.h.dim(0) != 1) return KernelStatus::unsupported("more than one row");
  const std::array layers{args.gate, args.up};
  FewRowsLayers own;
  const std::string refusal = own.add(layers);
  if (!refusal.empty()) return KernelStatus::unsupported(refusal);
  return multiply_one_row_swiglu(stream, own.prepare(stream, layers), args.h.data);
}

// Many rows: the base's product, then the adapter's.
KernelStatus many_rows(Stream& stream, const LoraLinearArgs& args, const Sizes& s, const As& bias) {
  const DType dtype = args.x.dtype;
  const bool adapts = s.R > 0 && args.scale != 0;
  Steps steps;
  steps.then([&] {
    return multiply(stream, {.M = s.M,
                             .N = s.N,
                             .K = s.K,
                             .a = rows_of(args.x),
                             .b = transposed(rows_of(args.w)),
                             .c = args.out.data,
                             .c_dtype = dtype,
                             .c_row_stride = s.N,
                             .bias = bias.matrix().data});
  });
  if (s.R == 0 || s.M == 0 || (!args.xa && !adapts)) return steps.status();
  const Scratch own_xa(stream, args.xa ? 0 : bytes_of(s.M * s.R, DType::kF32));
  float* const xa = args.xa ? data_of<float>(args.xa) : own_xa.as<float>();
  {
    const Dropped x(stream, args.x, args.dropout_p, args.key);
    steps.then([&] { return make_xa(stream, args.a, s, x.matrix(), xa); });
  }
  if (!adapts) return steps.status();
  steps.then([&] {
    return adapter_update(stream, {.M = s.M,
                                   .N = s.N,
                                   .R = s.R,
                                   .y = args.out.data,
                                   .dtype = dtype,
                                   .p = rows_of(xa, DType::kF32, s.R),
                                   .s = transposed(rows_of(args.b)),
                                   .scale = args.scale});
  });
  return steps.status();
}

// Whether no variant is forced, or one of those on Hopper.
bool allows_hopper() {
  const std::string forced = forced_variant("lora_linear");
  return forced.empty() || forced.starts_with("hopper");
}

}  // namespace

// x [M,K], w [N,K], bias [N], a [R,K], b [N,R] → out [M,N], xa [M,R].
KernelStatus lora_linear(Stream& stream, const LoraLinearArgs& args) {
  const Sizes s{args.x.dim(0), args.w.dim(0), args.x.dim(1), args.a.dim(0)};
  const std::string forced = forced_variant("lora_linear");
  if (forced.empty() || forced == "few_rows") {
    KernelStatus status = few_rows(stream, std::span(&args, 1));
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  if (forced.empty() || forced.starts_with("hopper")) {
    KernelStatus status = forward_together(stream, std::span(&args, 1));
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  // Added where the result is made, in its dtype.
  const Matrix given_bias{.data = args.bias ? args.bias.data : nullptr, .dtype = args.bias.dtype};
  const As bias(stream, given_bias, args.x.dtype, s.N);
  return many_rows(stream, args, s, bias);
}

// dy [M,N], x [M,K], w [N,K], a [R,K], b [N,R], xa [M,R] → dx [M,K], da [R,K], db [N,R], dbias [N].
KernelStatus lora_linear_backward(Stream& stream, const LoraLinearBackwardArgs& args) {
  const Sizes s{args.dy.dim(0), args.dy.dim(1), args.a.dim(1), args.a.dim(0)};
  const DType dtype = args.dy.dtype;
  const bool adapts = s.R > 0 && s.M > 0 && args.scale != 0;
  const bool needs_g = adapts && (args.dx || args.da);
  const bool needs_db = adapts && args.db;
  const std::string forced = forced_variant("lora_linear");
  if (forced.empty() || forced.starts_with("hopper")) {
    KernelStatus status = backward_together(stream, std::span(&args, 1));
    if (status.is_ok() && args.dbias) return bias_gradient(stream, args);
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  const Dropped x(stream, args.x, adapts && (args.da || !args.xa) ? args.dropout_p : 0, args.key);
  const Scratch own_xa(stream, needs_db && !args.xa ? bytes_of(s.M * s.R, DType::kF32) : 0);
  float* const xa = args.xa ? data_of<float>(args.xa) : own_xa.as<float>();
  const Scratch g_memory(stream, needs_g ? bytes_of(s.M * s.R, dtype) : 0);
  const Matrix g = rows_of(g_memory.data(), dtype, s.R);
  Steps steps;
  if (needs_db && !args.xa) steps.then([&] { return make_xa(stream, args.a, s, x.matrix(), xa); });
  if (needs_g || needs_db) {  // one pass over dy
    ThinProducts side{
        .M = s.M, .C = s.N, .x = args.dy.data, .dtype = dtype, .ranges = {}, .t = {}, .g = {}};
    side.ranges[0] = {.R = s.R, .d = {}, .scale = args.scale};
    if (needs_g) {
      side.t = rows_of(args.b);
      side.p = g.data;
      side.p_row_stride = s.R;
    }
    if (needs_db) {
      side.g = rows_of(xa, DType::kF32, s.R);
      side.ranges[0].d = rows_of(args.db);
    }
    steps.then([&] { return adapter_products(stream, side); });
  }
  if (args.dx) steps.then([&] { return input_gradient(stream, args, s, g); });
  if (args.da && needs_g) {
    steps.then([&] {
      return adapter_products(
          stream,
          {.M = s.M,
           .C = s.K,
           .x = x.matrix().data,
           .dtype = dtype,
           .ranges = {ThinRange{.R = s.R, .d = transposed(rows_of(args.da)), .scale = args.scale}},
           .t = {},
           .g = g});
    });
  }
  if (!adapts) {
    for (const TensorView& gradient : {args.da, args.db}) {
      if (gradient) steps.then([&] { return fill(stream, {.out = gradient, .value = 0}); });
    }
  }
  if (args.dbias) steps.then([&] { return bias_gradient(stream, args); });
  return steps.status();
}

// As lora_linear; together where that is supported.
KernelStatus lora_linears(Stream& stream, const LoraLinearsArgs& args) {
  const std::string forced = forced_variant("lora_linear");
  if (forced.empty() || forced == "few_rows") {
    KernelStatus status = few_rows(stream, args.parts());
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  if (forced.empty() || forced.starts_with("hopper")) {
    KernelStatus status = forward_together(stream, args.parts());
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  return forward_layer_by_layer(stream, args, lora_linear);
}

// As lora_linear_backward; together where that is supported, else the gradients of x are added up.
KernelStatus lora_linears_backward(Stream& stream, const LoraLinearsBackwardArgs& args) {
  const std::string forced = forced_variant("lora_linear");
  if (forced.empty() || forced.starts_with("hopper")) {
    KernelStatus status = backward_together(stream, args.parts());
    for (const LoraLinearBackwardArgs& layer : args.parts()) {
      if (status.is_ok() && layer.dbias) status = bias_gradient(stream, layer);
    }
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  return backward_layer_by_layer<Scratch>(stream, args, lora_linear_backward, add);
}

KernelStatus lora_swiglu(Stream& stream, const LoraSwigluArgs& args) {
  const std::string forced = forced_variant("lora_linear");
  if (forced.empty() || forced == "few_rows") {
    KernelStatus status = few_rows_swiglu(stream, args);
    if (!status.is_unsupported() || !forced.empty()) return status;
  }
  if (!allows_hopper()) return KernelStatus::unsupported("another variant was asked for");
  return forward_with_swiglu(stream, args);
}

KernelStatus lora_swiglu_backward(Stream& stream, const LoraSwigluBackwardArgs& args) {
  if (!allows_hopper()) return KernelStatus::unsupported("another variant was asked for");
  const KernelStatus status = backward_with_swiglu(stream, args);
  if (status.is_ok() && args.down.dbias) return bias_gradient(stream, args.down);
  return status;
}

}  // namespace wick::cuda
