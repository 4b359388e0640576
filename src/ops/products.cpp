#include "ops/products.hpp"

#include <array>
#include <optional>
#include <vector>

#include "ops/layouts.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/matmul_args.hpp"
#include "runtime/launch.hpp"

namespace wick::detail {

namespace {

Shape batch_of(const Shape& shape) { return Shape(shape.dims().first(shape.dims().size() - 2)); }

Shape matrices(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  std::vector<std::int64_t> dims = batch.to_vector();
  dims.insert(dims.end(), {rows, columns});
  return Shape(dims);
}

Layout maybe_transposed(const Tensor& x, bool transposed) {
  const Layout& layout = layout_of(x);
  if (!transposed) return layout;
  std::array<int, kMaxRank> order{};
  const auto rank = static_cast<std::size_t>(x.rank());
  for (std::size_t i = 0; i < rank; ++i) order[i] = static_cast<int>(i);
  std::swap(order[rank - 1], order[rank - 2]);
  return permute(layout, std::span<const int>(order.data(), rank));
}

// An operand as [G,rows,columns] with its batch broadcast: a view where strides can say it.
Tensor as_matrices(const Tensor& x, bool transposed, const Shape& batch, std::int64_t rows,
                   std::int64_t columns) {
  const Tensor source = aligned(x);
  const Layout full =
      *broadcast_to(maybe_transposed(source, transposed), matrices(batch, rows, columns));
  const Shape stacked{batch.numel(), rows, columns};
  if (const std::optional<Layout> layout = reshape(full, stacked)) {
    return with_layout(source, *layout);
  }
  return with_shape(clone(with_layout(source, full)), stacked);
}

void launch_matrices(const Tensor& c, const Tensor& a, const Tensor& b, double alpha, double beta) {
  launch(kernels::matmul, c.device(),
         MatmulArgs{.a = view(a),
                    .b = view(b),
                    .c = view(c),
                    .alpha = static_cast<float>(alpha),
                    .beta = static_cast<float>(beta)});
}

}  // namespace

Shape ProductShape::result() const { return matrices(batch, M, N); }

ProductShape product_shape(const Check& check, const Tensor& a, const Tensor& b,
                           const MatmulOptions& options) {
  check.floating("a", a);
  check.floating("b", b);
  check.that(a.dtype() == b.dtype() || a.dtype() == DType::kF32 || b.dtype() == DType::kF32,
             ErrorKind::kDtype, "a and b must have one dtype, or one of them f32");
  check.that(a.rank() >= 2 && b.rank() >= 2, ErrorKind::kShape,
             "a and b must have at least two dimensions");
  ProductShape shape;
  shape.M = a.dim(options.transpose_a ? -1 : -2);
  shape.K = a.dim(options.transpose_a ? -2 : -1);
  shape.N = b.dim(options.transpose_b ? -2 : -1);
  const std::int64_t inner = b.dim(options.transpose_b ? -1 : -2);
  check.that(shape.K == inner, ErrorKind::kShape,
             "the inner dimensions must be equal: {} of a{} and {} of b{}", shape.K,
             options.transpose_a ? " transposed" : "", inner,
             options.transpose_b ? " transposed" : "");
  const std::optional<Shape> batch = broadcast_shapes(batch_of(a.shape()), batch_of(b.shape()));
  check.that(batch.has_value(), ErrorKind::kShape, "the leading dimensions must broadcast");
  shape.batch = *batch;
  return shape;
}

void launch_product(const ProductShape& shape, const Tensor& c, const Tensor& a, const Tensor& b,
                    const MatmulOptions& options, double beta) {
  // A matrix b shared by the whole batch makes one tall product instead of many.
  const std::int64_t G = shape.batch.numel();
  const std::int64_t rows = G * shape.M;
  if (G > 1 && b.rank() == 2 && !options.transpose_a && is_aligned(a) && is_aligned(c)) {
    const std::optional<Layout> tall_a = reshape(layout_of(a), {1, rows, shape.K});
    const std::optional<Layout> tall_c = reshape(layout_of(c), {1, rows, shape.N});
    if (tall_a && tall_c && a.numel() == rows * shape.K) {
      launch_matrices(with_layout(c, *tall_c), with_layout(a, *tall_a),
                      as_matrices(b, options.transpose_b, {1}, shape.K, shape.N), options.alpha,
                      beta);
      return;
    }
  }
  const Tensor left = as_matrices(a, options.transpose_a, shape.batch, shape.M, shape.K);
  const Tensor right = as_matrices(b, options.transpose_b, shape.batch, shape.K, shape.N);
  const std::optional<Layout> stacked = reshape(layout_of(c), {G, shape.M, shape.N});
  if (stacked && is_aligned(c)) {
    launch_matrices(with_layout(c, *stacked), left, right, options.alpha, beta);
    return;
  }
  // The batch of c has gaps that no single stride describes, or c lies at an odd address.
  const Tensor whole = clone(c);
  launch_matrices(with_shape(whole, {G, shape.M, shape.N}), left, right, options.alpha, beta);
  launch(kernels::copy, c.device(), CopyArgs{.src = view(whole), .dst = view(c)});
}

DType product_dtype(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() ? a.dtype() : DType::kF32;
}

Tensor product(const Tensor& a, const Tensor& b, const MatmulOptions& options, DType dtype) {
  const Check check("matmul", {{"a", a}, {"b", b}});
  const ProductShape shape = product_shape(check, a, b, options);
  Tensor c = Tensor::empty(shape.result(), dtype, a.device());
  launch_product(shape, c, a, b, options, 0);
  return c;
}

}  // namespace wick::detail
