#include "wick/ops/embedding.hpp"

#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/embedding_args.hpp"
#include "runtime/launch.hpp"

namespace wick {

Tensor embedding(const Tensor& weight, const Tensor& ids) {
  const detail::Check check("embedding", {{"weight", weight}, {"ids", ids}});
  check.floating("weight", weight);
  check.index("ids", ids);
  check.that(weight.rank() == 2, ErrorKind::kShape, "weight must be [V,D]");
  check.that(ids.rank() < kMaxRank, ErrorKind::kShape, "ids must have at most {} dimensions",
             kMaxRank - 1);
  const Tensor table = detail::dense_last_axis(weight);
  const Tensor flat = detail::with_shape(detail::dense(ids), {ids.numel()});
  const std::int64_t D = weight.dim(1);
  Tensor out = Tensor::empty(detail::with_last(ids.shape(), D), weight.dtype(), weight.device());
  const Tensor out_rows = detail::with_shape(out, {ids.numel(), D});
  launch(
      kernels::embedding, weight.device(),
      EmbeddingArgs{
          .weight = detail::view(table), .ids = detail::view(flat), .out = detail::view(out_rows)});
  return detail::record("embedding", {weight}, out, {flat},
                        [shape = weight.shape()](const detail::BackwardCall& call) {
                          const Tensor dy = detail::with_shape(detail::dense(call.dy()),
                                                               {call.saved[0].numel(), shape[1]});
                          Tensor dweight = Tensor::empty(shape, dy.dtype(), dy.device());
                          launch(kernels::embedding_backward, dy.device(),
                                 EmbeddingBackwardArgs{.dy = detail::view(dy),
                                                       .ids = detail::view(call.saved[0]),
                                                       .dweight = detail::view(dweight)});
                          return std::vector{dweight};
                        });
}

}  // namespace wick
