#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/reductions.hpp"
#include "runtime/args/reduce_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/reduce.hpp"

namespace wick {

ValuesAndIndices top_k(const Tensor& x, std::int64_t k, int axis) {
  const detail::Check check("top_k", {{"x", x}});
  check.number("x", x);
  const int along = check.axis("x", x, axis);
  check.that(k >= 1 && k <= x.dim(along), ErrorKind::kArgument,
             "k must be between 1 and {}, the size along axis {}, got {}", x.dim(along), axis, k);

  const Tensor rows = detail::rows_along(x, along);
  Tensor values = Tensor::empty({rows.dim(0), k}, x.dtype(), x.device());
  Tensor indices = Tensor::empty({rows.dim(0), k}, DType::kI64, x.device());
  launch(kernels::top_k, x.device(),
         TopKArgs{.x = detail::view(rows),
                  .values = detail::view(values),
                  .indices = detail::view(indices)});

  ValuesAndIndices result{.values = detail::from_rows(values, x.shape(), along, k),
                          .indices = detail::from_rows(indices, x.shape(), along, k)};
  detail::record(
      "top_k", {x}, result.values, {result.indices},
      [along, from = x.shape()](const detail::BackwardCall& call) {
        return std::vector{detail::scatter_gradient(call.dy(), call.saved[0], from, along)};
      });
  return result;
}

}  // namespace wick
