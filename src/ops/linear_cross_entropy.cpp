#include <algorithm>

#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/losses.hpp"
#include "ops/products.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/cross_entropy.hpp"

namespace wick {

namespace {

std::int64_t chosen_chunk(std::int64_t chunk_rows, std::int64_t N, std::int64_t V, Device device) {
  const std::int64_t wanted = chunk_rows > 0 ? chunk_rows : detail::default_chunk_rows(V, device);
  return std::max<std::int64_t>(std::min(wanted, N), 1);
}

Tensor rows_of(const Tensor& x, std::int64_t begin, std::int64_t end) {
  return detail::with_layout(x, slice(detail::layout_of(x), 0, begin, end));
}

void check_operands(const detail::Check& check, const Tensor& x, const Tensor& weight,
                    std::int64_t chunk_rows) {
  check.floating("x", x);
  check.floating("weight", weight);
  check.that(weight.dtype() == x.dtype() || x.dtype() == DType::kF32, ErrorKind::kDtype,
             "weight must have the dtype of x, unless x is f32");
  check.that(x.rank() == 2, ErrorKind::kShape, "x must be [N,D]");
  check.that(weight.rank() == 2 && weight.dim(1) == x.dim(1) && weight.dim(0) >= 1,
             ErrorKind::kShape, "weight must be [V,{}] to match x, with V at least 1", x.dim(1));
  check.that(chunk_rows >= 0, ErrorKind::kArgument, "chunk_rows must not be negative, got {}",
             chunk_rows);
}

// Takes rows in chunks: logits, loss, and while the logits exist the gradients of the summed loss. Logits are f32; their
// gradient is rounded to x's dtype, so that the products of the gradients have operands of one dtype.
class ChunkedLoss {
 public:
  ChunkedLoss(const Tensor& x, const Tensor& weight, const CrossEntropyOptions& options,
              std::int64_t chunk_rows)
      : x_(detail::dense(x)),
        weight_(detail::dense(weight)),
        constants_(options),
        token_weights_(options.token_weights.defined() ? detail::dense(options.token_weights)
                                                       : Tensor()),
        chunk_(chosen_chunk(chunk_rows, x.dim(0), weight.dim(0), x.device())),
        sums_(x.device()) {
    if (detail::needs_gradient({x})) dx_ = Tensor::empty(x.shape(), x.dtype(), x.device());
    if (detail::needs_gradient({weight})) {
      dweight_ = Tensor::zeros(weight.shape(), DType::kF32, x.device());
    }
  }

  void run(const Tensor& targets) {
    const std::int64_t N = x_.dim(0);
    const Tensor logits = Tensor::empty({chunk_, weight_.dim(0)}, DType::kF32, x_.device());
    const Tensor lse = Tensor::empty({chunk_}, DType::kF32, x_.device());
    const bool in_place = x_.dtype() == DType::kF32;
    Tensor dlogits;
    if (dx_.defined() || dweight_.defined()) {
      dlogits = in_place ? logits : Tensor::empty(logits.shape(), x_.dtype(), x_.device());
    }
    // At least once: the sums of no rows at all are zeros.
    for (std::int64_t begin = 0; begin == 0 || begin < N; begin += chunk_) {
      const std::int64_t end = std::min(begin + chunk_, N);
      const auto part = [&](const Tensor& whole) {
        return whole.defined() ? rows_of(whole, 0, end - begin) : Tensor();
      };
      run_chunk(begin, end, targets, part(logits), part(dlogits), part(lse));
    }
  }

  const detail::LossSums& sums() const { return sums_; }
  const Tensor& dx() const { return dx_; }
  const Tensor& dweight() const { return dweight_; }

 private:
  void run_chunk(std::int64_t begin, std::int64_t end, const Tensor& all_targets,
                 const Tensor& logits, const Tensor& dlogits, const Tensor& lse) {
    const Tensor x = rows_of(x_, begin, end);
    const Tensor targets = rows_of(all_targets, begin, end);
    const Tensor weights =
        token_weights_.defined() ? rows_of(token_weights_, begin, end) : Tensor();
    accumulate(logits, x, weight_, {.transpose_b = true}, 0);
    detail::launch_cross_entropy({logits, targets, weights, lse, dlogits}, sums_, constants_,
                                 begin);
    if (dx_.defined()) accumulate(rows_of(dx_, begin, end), dlogits, weight_, {}, 0);
    if (dweight_.defined()) accumulate(dweight_, dlogits, x, {.transpose_a = true}, 1);
  }

  static void accumulate(const Tensor& c, const Tensor& a, const Tensor& b,
                         const MatmulOptions& options, double beta) {
    const detail::Check check("linear_cross_entropy", {{"a", a}, {"b", b}});
    detail::launch_product(detail::product_shape(check, a, b, options), c, a, b, options, beta);
  }

  Tensor x_, weight_;
  detail::LossConstants constants_;
  Tensor token_weights_;
  std::int64_t chunk_;
  detail::LossSums sums_;
  Tensor dx_, dweight_;
};

// gradient · dloss · factor, in the dtype asked for.
Tensor scaled_gradient(const Tensor& gradient, const Tensor& dloss, const Tensor& factor,
                       DType dtype) {
  Tensor total = detail::dense(dloss);
  if (factor.defined()) {
    const Tensor product = Tensor::empty({}, DType::kF32, dloss.device());
    launch(kernels::mul, dloss.device(),
           BinaryArgs{
               .a = detail::view(total), .b = detail::view(factor), .out = detail::view(product)});
    total = product;
  }
  Tensor scaled = Tensor::empty(gradient.shape(), gradient.dtype(), gradient.device());
  launch(kernels::scale, gradient.device(),
         ScaleArgs{.x = detail::view(gradient),
                   .out = detail::view(scaled),
                   .factor_tensor = detail::view(total)});
  if (dtype == scaled.dtype()) return scaled;
  Tensor converted = Tensor::empty(scaled.shape(), dtype, scaled.device());
  launch(kernels::copy, scaled.device(),
         CopyArgs{.src = detail::view(scaled), .dst = detail::view(converted)});
  return converted;
}

}  // namespace

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& targets,
                            const CrossEntropyOptions& options, std::int64_t chunk_rows) {
  const detail::Check check("linear_cross_entropy",
                            {{"x", x},
                             {"weight", weight},
                             {"targets", targets},
                             {"token_weights", options.token_weights, true}});
  check_operands(check, x, weight, chunk_rows);
  detail::check_loss(check, x.dim(0), targets, options);

  ChunkedLoss loss(x, weight, options, chunk_rows);
  loss.run(detail::dense(targets));
  return detail::record(
      "linear_cross_entropy", {x, weight}, loss.sums().reduced(options.reduction),
      {loss.dx(), loss.dweight(), loss.sums().factor(options.reduction)},
      [dtype_x = x.dtype(), dtype_w = weight.dtype()](const detail::BackwardCall& call) {
        const Tensor& factor = call.saved[2];
        std::vector<Tensor> grads(2);
        if (call.wanted[0]) {
          grads[0] = scaled_gradient(call.saved[0], call.dy(), factor, dtype_x);
        }
        if (call.wanted[1]) {
          grads[1] = scaled_gradient(call.saved[1], call.dy(), factor, dtype_w);
        }
        return grads;
      });
}

}  // namespace wick
