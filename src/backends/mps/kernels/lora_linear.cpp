#include <optional>
#include <utility>

#include "backends/mps/kernels/lora_linear.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/mps_stream.hpp"
#include "backends/mps/products.hpp"
#include "backends/mps/random_rules.hpp"
#include "backends/mps/ways.hpp"
#include "base/check.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/random_args.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/layer_by_layer.hpp"

namespace wick::mps {

namespace {

Matrix rows(const TensorView& x) {
  return {.data = x.data, .dtype = x.dtype, .row_stride = x.dim(1)};
}
Matrix transposed(Matrix m) {
  std::swap(m.row_stride, m.column_stride);
  return m;
}
Matrix dense_f32(const void* data, std::int64_t columns) {
  return {.data = data, .dtype = DType::kF32, .row_stride = columns};
}

std::size_t bytes_of(std::int64_t count, DType dtype) {
  return static_cast<std::size_t>(count) * size_of(dtype);
}

struct Sizes {
  std::int64_t M, N, K, R;
};

// drop(x): x itself without dropout, else a copy while this lives.
class Dropped {
 public:
  Dropped(Stream& stream, const TensorView& x, double p, const RandomKeyArgs& key)
      : matrix_(rows(x)) {
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

// ---- Forward ------------------------------------------------------------------------------------

// The call with xa in memory that is there even where the caller wants none of it.
struct Forward {
  const LoraLinearArgs& args;
  Sizes s;
  Matrix x;  // drop(x)
  void* xa;  // [M,R] f32

  bool adapts() const { return s.R > 0 && args.scale != 0; }

  // out = x wᵀ + bias.
  Product base() const {
    return {.M = s.M,
            .N = s.N,
            .K = s.K,
            .a = rows(args.x),
            .b = transposed(rows(args.w)),
            .c = args.out.data,
            .c_dtype = args.out.dtype,
            .c_row_stride = s.N,
            .bias = args.bias ? args.bias.data : nullptr,
            .bias_dtype = args.bias.dtype};
  }
  // The same with the adapter's update.
  Product whole() const {
    Product product = base();
    if (adapts()) add_update(product);
    return product;
  }
  // What `base` without its bias leaves to do: out += bias + update.
  Product rest() const {
    Product product = whole();
    product.K = 0;
    product.beta = 1;
    return product;
  }
  // xa = drop(x) aᵀ.
  Product thin() const {
    return {.M = s.M,
            .N = s.R,
            .K = s.K,
            .a = x,
            .b = transposed(rows(args.a)),
            .c = xa,
            .c_dtype = DType::kF32,
            .c_row_stride = s.R};
  }

 private:
  void add_update(Product& product) const {
    product.R = s.R;
    product.p = xa;
    product.s = transposed(rows(args.b));
    product.scale = args.scale;
  }
};

// The few rows of decoding: x aᵀ, then everything else in one pass over w.
KernelStatus few_rows(Stream& stream, const Forward& f) {
  const Product whole = f.whole();
  KernelStatus status = KernelStatus::ok();
  if (f.xa != nullptr) {
    status = multiply_few_rows(stream, f.thin());
    if (!status.is_ok()) return status;
  }
  return multiply_few_rows(stream, whole);
}

// The base by MPS where it is large, the rest by tiles.
KernelStatus by_mps(Stream& stream, const Forward& f) {
  Product base = f.base();
  base.bias = nullptr;
  KernelStatus status = multiply_by_mps(stream, base);
  if (!status.is_ok()) return status;
  Steps steps;
  if (f.xa != nullptr) steps.then([&] { return multiply(stream, f.thin()); });
  if (f.adapts() || f.args.bias) steps.then([&] { return multiply_by_tiles(stream, f.rest()); });
  return steps.status();
}

// x aᵀ, then one launch whose tiles take the base and the update.
KernelStatus fused(Stream& stream, const Forward& f) {
  Steps steps;
  if (f.xa != nullptr) steps.then([&] { return multiply(stream, f.thin()); });
  return steps.then([&] { return multiply_by_tiles(stream, f.whole()); }).status();
}

constexpr Variant<Forward> kForward[] = {{"few_rows", few_rows}, {"mps", by_mps}, {"fused", fused}};

CallShape shape_of(const Forward& f) {
  CallShape shape = mps::shape_of(f.base());
  shape.kernel = ChoiceKernel::kLoraLinear;
  shape.R = f.adapts() ? f.s.R : 0;
  if (f.adapts()) shape.update = f.args.a.dtype;
  return shape;
}

// ---- Gradients ----------------------------------------------------------------------------------

struct Backward {
  const LoraLinearBackwardArgs& args;
  Sizes s;
  Matrix x;        // drop(x)
  const void* xa;  // [M,R] f32
  void* g;         // [M,R] f32: dy b
  bool adapts;

  // dx [M,K] = dy w.
  Product base() const {
    return {.M = s.M,
            .N = s.K,
            .K = s.N,
            .a = rows(args.dy),
            .b = rows(args.w),
            .c = args.dx.data,
            .c_dtype = args.dx.dtype,
            .c_row_stride = s.K};
  }
  // dx with the update of an adapter without dropout.
  Product whole() const {
    Product product = base();
    product.R = s.R;
    product.p = g;
    product.s = rows(args.a);
    product.scale = args.scale;
    return product;
  }
  // xa [M,R] = drop(x) aᵀ, where the forward pass has not kept it.
  Product thin(void* target) const {
    return {.M = s.M,
            .N = s.R,
            .K = s.K,
            .a = x,
            .b = transposed(rows(args.a)),
            .c = target,
            .c_dtype = DType::kF32,
            .c_row_stride = s.R};
  }
  Product g_product() const {
    return {.M = s.M,
            .N = s.R,
            .K = s.N,
            .a = rows(args.dy),
            .b = rows(args.b),
            .c = g,
            .c_dtype = DType::kF32,
            .c_row_stride = s.R};
  }
  // da [R,K] = scale · gᵀ drop(x).
  Product da() const {
    return {.M = s.R,
            .N = s.K,
            .K = s.M,
            .a = transposed(dense_f32(g, s.R)),
            .b = x,
            .c = args.da.data,
            .c_dtype = args.da.dtype,
            .c_row_stride = s.K,
            .alpha = args.scale};
  }
  // db [N,R] = scale · dyᵀ xa.
  Product db() const {
    return {.M = s.N,
            .N = s.R,
            .K = s.M,
            .a = transposed(rows(args.dy)),
            .b = dense_f32(xa, s.R),
            .c = args.db.data,
            .c_dtype = args.db.dtype,
            .c_row_stride = s.R,
            .alpha = args.scale};
  }
  // scale · g a [M,K] in f32.
  Product update(void* target) const {
    return {.M = s.M,
            .N = s.K,
            .K = s.R,
            .a = dense_f32(g, s.R),
            .b = rows(args.a),
            .c = target,
            .c_dtype = DType::kF32,
            .c_row_stride = s.K,
            .alpha = args.scale};
  }
};

// dx [M,K] = dy w + scale · g a.
KernelStatus input_gradient_by_mps(Stream& stream, const Backward& b) {
  KernelStatus status = multiply_by_mps(stream, b.base());
  if (!status.is_ok()) return status;
  Product rest = b.whole();
  rest.K = 0;
  rest.beta = 1;
  return multiply_by_tiles(stream, rest);
}

KernelStatus input_gradient_fused(Stream& stream, const Backward& b) {
  return multiply_by_tiles(stream, b.whole());
}

constexpr Variant<Backward> kBackward[] = {{"mps", input_gradient_by_mps},
                                           {"fused", input_gradient_fused}};

// dx [M,K] = dy w + scale · drop'(g a).
KernelStatus input_gradient(Stream& stream, const Backward& b, std::string_view way) {
  const Product base = b.base();
  if (!b.adapts) return multiply(stream, base);
  if (b.args.dropout_p != 0) {
    const Scratch update(stream, bytes_of(b.s.M * b.s.K, DType::kF32));
    Steps steps;
    steps.then([&] { return multiply(stream, base); }).then([&] {
      return multiply(stream, b.update(update.data()));
    });
    if (!steps.status().is_ok()) return steps.status();
    add_dropped(stream, update.data(), b.args.dx, b.args.dropout_p, b.args.key);
    return KernelStatus::ok();
  }
  CallShape shape = shape_of(base);
  shape.kernel = ChoiceKernel::kLoraLinearBackward;
  shape.R = b.s.R;
  shape.update = b.args.a.dtype;
  return run_ways<Backward>(stream, shape, kBackward, b, way);
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
  return Steps()
      .then([&] { return sum(stream, {.x = columns, .out = out, .num_reduced = 1}); })
      .then([&] { return copy(stream, {.src = out, .dst = args.dbias}); })
      .status();
}

}  // namespace

// x [M,K], w [N,K], bias [N], a [R,K], b [N,R] → out [M,N], xa [M,R].
KernelStatus lora_linear_by(std::string_view way, Stream& stream, const LoraLinearArgs& args) {
  const Sizes s{args.x.dim(0), args.w.dim(0), args.x.dim(1), args.a.dim(0)};
  const bool needs_xa = s.R > 0 && s.M > 0 && (args.xa || args.scale != 0);
  const Dropped x(stream, args.x, needs_xa ? args.dropout_p : 0, args.key);
  const Scratch own_xa(stream, needs_xa && !args.xa ? bytes_of(s.M * s.R, DType::kF32) : 0);
  void* const xa = args.xa ? args.xa.data : own_xa.data();
  const Forward forward{args, s, x.matrix(), needs_xa ? xa : nullptr};
  return run_ways<Forward>(stream, shape_of(forward), kForward, forward, way);
}

KernelStatus lora_linear(Stream& stream, const LoraLinearArgs& args) {
  return lora_linear_by({}, stream, args);
}

// dy [M,N], x [M,K], w [N,K], a [R,K], b [N,R], xa [M,R] → dx [M,K], da [R,K], db [N,R], dbias [N].
KernelStatus lora_linear_backward_by(std::string_view way, Stream& stream,
                                     const LoraLinearBackwardArgs& args) {
  const Sizes s{args.dy.dim(0), args.dy.dim(1), args.a.dim(1), args.a.dim(0)};
  const bool adapts = s.R > 0 && s.M > 0 && args.scale != 0;
  const bool needs_g = adapts && (args.dx || args.da);
  const bool makes_xa = adapts && args.db && !args.xa;
  const bool drops = adapts && (args.da || makes_xa);
  const Dropped x(stream, args.x, drops ? args.dropout_p : 0, args.key);
  const Scratch own_xa(stream, makes_xa ? bytes_of(s.M * s.R, DType::kF32) : 0);
  const Scratch g(stream, needs_g ? bytes_of(s.M * s.R, DType::kF32) : 0);
  const Backward b{args, s, x.matrix(), args.xa ? args.xa.data : own_xa.data(), g.data(), adapts};
  Steps steps;
  if (makes_xa) steps.then([&] { return multiply(stream, b.thin(own_xa.data())); });
  if (needs_g) steps.then([&] { return multiply(stream, b.g_product()); });
  if (args.dx) steps.then([&] { return input_gradient(stream, b, way); });
  if (args.da && adapts) steps.then([&] { return multiply(stream, b.da()); });
  if (args.db && adapts) steps.then([&] { return multiply(stream, b.db()); });
  if (!adapts) {
    for (const TensorView& gradient : {args.da, args.db}) {
      if (gradient) steps.then([&] { return fill(stream, {.out = gradient, .value = 0}); });
    }
  }
  if (args.dbias) steps.then([&] { return bias_gradient(stream, args); });
  return steps.status();
}

KernelStatus lora_linear_backward(Stream& stream, const LoraLinearBackwardArgs& args) {
  return lora_linear_backward_by({}, stream, args);
}

// As lora_linear, layer by layer.
KernelStatus lora_linears(Stream& stream, const LoraLinearsArgs& args) {
  return forward_layer_by_layer(stream, args, lora_linear);
}

// As lora_linear_backward, layer by layer; the gradients of x are added up.
KernelStatus lora_linears_backward(Stream& stream, const LoraLinearsBackwardArgs& args) {
  return backward_layer_by_layer<Scratch>(stream, args, lora_linear_backward, add);
}

// The activation is a kernel of its own here.
KernelStatus lora_swiglu(Stream& /*stream*/, const LoraSwigluArgs& /*args*/) {
  return KernelStatus::unsupported("swiglu in a product's end");
}

KernelStatus lora_swiglu_backward(Stream& /*stream*/, const LoraSwigluBackwardArgs& /*args*/) {
  return KernelStatus::unsupported("swiglu in a product's end");
}

}  // namespace wick::mps
