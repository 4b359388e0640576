#include <optional>

#include "backends/cuda/cuda_kernels.hpp"
#include "backends/cuda/dense_products.hpp"
#include "backends/cuda/elementwise.cuh"
#include "backends/cuda/random.cuh"
#include "backends/cuda/strided.cuh"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/args/random_args.hpp"
#include "runtime/args/reduce_args.hpp"

namespace wick::cuda {

namespace {

// The adapter's products run in x's dtype, so that the tensor cores take them: its f32 parameters, and x aᵀ,
// are rounded to it on the way in, and sums are f32.

Matrix rows(void* data, DType dtype, std::int64_t columns) {
  return {.data = data, .dtype = dtype, .row_stride = columns};
}
Matrix rows(const TensorView& x) { return rows(x.data, x.dtype, x.dim(1)); }
Matrix transposed(Matrix m) {
  std::swap(m.row_stride, m.column_stride);
  return m;
}

std::size_t bytes_of(std::int64_t count, DType dtype) {
  return static_cast<std::size_t>(count) * size_of(dtype);
}

// A dense matrix in the dtype asked for: itself, or a copy while this lives.
class As {
 public:
  As(Stream& stream, const TensorView& x, DType dtype) : matrix_(rows(x)) {
    if (x.dtype == dtype) return;
    copy_.emplace(stream, bytes_of(x.numel(), dtype));
    convert(stream, x.data, x.dtype, copy_->data(), dtype, x.numel());
    matrix_ = rows(copy_->data(), dtype, x.dim(1));
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

// dx [M,K] = dy w + scale · drop'(g a).
KernelStatus input_gradient(Stream& stream, const LoraLinearBackwardArgs& args, const Sizes& s,
                            const Matrix& dy, const Matrix& g, const Matrix& a) {
  const Product base{.M = s.M,
                     .N = s.K,
                     .K = s.N,
                     .a = dy,
                     .b = rows(args.w),
                     .c = args.dx.data,
                     .c_dtype = args.dx.dtype,
                     .c_row_stride = s.K};
  KernelStatus status = multiply(stream, base);
  if (!status.is_ok() || s.R == 0 || args.scale == 0) return status;
  Product update{.M = s.M,
                 .N = s.K,
                 .K = s.R,
                 .a = g,
                 .b = a,
                 .c = args.dx.data,
                 .c_dtype = args.dx.dtype,
                 .c_row_stride = s.K,
                 .alpha = args.scale,
                 .beta = 1};
  if (args.dropout_p == 0) return multiply(stream, update);
  const Scratch whole(stream, bytes_of(s.M * s.K, DType::kF32));
  update.c = whole.data();
  update.c_dtype = DType::kF32;
  update.beta = 0;
  status = multiply(stream, update);
  if (!status.is_ok()) return status;
  switch_floating(args.dx.dtype, [&]<class T>(std::type_identity<T>) {
    launch_on(stream, &add_dropped_kernel<T>, grid_of(stream, s.M * s.K, 1024, 16), 256, 0,
              dropout_rule(args.dropout_p, args.key), s.M * s.K,
              static_cast<const float*>(whole.as<float>()), data_of<T>(args.dx));
  });
  return status;
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

}  // namespace

// x [M,K], w [N,K], bias [N], a [R,K], b [N,R] → out [M,N], xa [M,R].
KernelStatus lora_linear(Stream& stream, const LoraLinearArgs& args) {
  const Sizes s{args.x.dim(0), args.w.dim(0), args.x.dim(1), args.a.dim(0)};
  const DType dtype = args.x.dtype;
  const bool adapts = s.R > 0 && args.scale != 0;
  Steps steps;
  // cuBLASLt adds a bias of the result's dtype.
  std::optional<Scratch> converted_bias;
  const void* bias = args.bias ? args.bias.data : nullptr;
  if (args.bias && args.bias.dtype != dtype) {
    converted_bias.emplace(stream, bytes_of(s.N, dtype));
    convert(stream, bias, args.bias.dtype, converted_bias->data(), dtype, s.N);
    bias = converted_bias->data();
  }
  steps.then([&] {
    return multiply(stream, {.M = s.M,
                             .N = s.N,
                             .K = s.K,
                             .a = rows(args.x),
                             .b = transposed(rows(args.w)),
                             .c = args.out.data,
                             .c_dtype = dtype,
                             .c_row_stride = s.N,
                             .bias = bias});
  });
  if (!args.xa && !adapts) return steps.status();
  const Scratch own_xa(stream, args.xa ? 0 : bytes_of(s.M * s.R, DType::kF32));
  void* const xa = args.xa ? args.xa.data : own_xa.data();
  {
    const Dropped x(stream, args.x, args.dropout_p, args.key);
    const As a(stream, args.a, dtype);
    steps.then([&] {
      return multiply(stream, {.M = s.M,
                               .N = s.R,
                               .K = s.K,
                               .a = x.matrix(),
                               .b = transposed(a.matrix()),
                               .c = xa,
                               .c_dtype = DType::kF32,
                               .c_row_stride = s.R});
    });
  }
  if (!adapts) return steps.status();
  TensorView xa_view = args.x;
  xa_view.data = xa;
  xa_view.dtype = DType::kF32;
  xa_view.shape = Shape{s.M, s.R};
  const As rounded_xa(stream, xa_view, dtype);
  const As b(stream, args.b, dtype);
  steps.then([&] {
    return multiply(stream, {.M = s.M,
                             .N = s.N,
                             .K = s.R,
                             .a = rounded_xa.matrix(),
                             .b = transposed(b.matrix()),
                             .c = args.out.data,
                             .c_dtype = dtype,
                             .c_row_stride = s.N,
                             .alpha = args.scale,
                             .beta = 1});
  });
  return steps.status();
}

// dy [M,N], x [M,K], w [N,K], a [R,K], b [N,R], xa [M,R] → dx [M,K], da [R,K], db [N,R], dbias [N].
KernelStatus lora_linear_backward(Stream& stream, const LoraLinearBackwardArgs& args) {
  const Sizes s{args.dy.dim(0), args.dy.dim(1), args.a.dim(1), args.a.dim(0)};
  const DType dtype = args.dy.dtype;
  const Matrix dy = rows(args.dy);
  const As a(stream, args.a, dtype);
  const As b(stream, args.b, dtype);
  const bool needs_g = s.R > 0 && args.scale != 0 && (args.dx || args.da);
  const Scratch g_memory(stream, needs_g ? bytes_of(s.M * s.R, dtype) : 0);
  const Matrix g = rows(g_memory.data(), dtype, s.R);
  Steps steps;
  if (needs_g) {
    steps.then([&] {
      return multiply(stream, {.M = s.M,
                               .N = s.R,
                               .K = s.N,
                               .a = dy,
                               .b = b.matrix(),
                               .c = g_memory.data(),
                               .c_dtype = dtype,
                               .c_row_stride = s.R});
    });
  }
  if (args.dx) steps.then([&] { return input_gradient(stream, args, s, dy, g, a.matrix()); });
  if (args.da || args.db) {
    const bool reads_x = args.da || !args.xa;
    const Dropped x(stream, args.x, reads_x ? args.dropout_p : 0, args.key);
    if (args.da) {
      // A scale of 0 makes zeros of whatever g holds.
      steps.then([&] {
        return multiply(stream, {.M = s.R,
                                 .N = s.K,
                                 .K = needs_g ? s.M : 0,
                                 .a = transposed(g),
                                 .b = x.matrix(),
                                 .c = args.da.data,
                                 .c_dtype = args.da.dtype,
                                 .c_row_stride = s.K,
                                 .alpha = args.scale});
      });
    }
    if (args.db) {
      const Scratch own_xa(stream, args.xa ? 0 : bytes_of(s.M * s.R, dtype));
      TensorView xa_view = args.xa ? args.xa : args.x;
      if (!args.xa) {
        xa_view.data = own_xa.data();
        xa_view.shape = Shape{s.M, s.R};
        steps.then([&] {
          return multiply(stream, {.M = s.M,
                                   .N = s.R,
                                   .K = s.K,
                                   .a = x.matrix(),
                                   .b = transposed(a.matrix()),
                                   .c = own_xa.data(),
                                   .c_dtype = dtype,
                                   .c_row_stride = s.R});
        });
      }
      const As xa(stream, xa_view, dtype);
      steps.then([&] {
        return multiply(stream, {.M = s.N,
                                 .N = s.R,
                                 .K = args.scale == 0 ? 0 : s.M,
                                 .a = transposed(dy),
                                 .b = xa.matrix(),
                                 .c = args.db.data,
                                 .c_dtype = args.db.dtype,
                                 .c_row_stride = s.R,
                                 .alpha = args.scale});
      });
    }
  }
  if (args.dbias) steps.then([&] { return bias_gradient(stream, args); });
  return steps.status();
}

}  // namespace wick::cuda
