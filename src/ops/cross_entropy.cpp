#include "wick/ops/cross_entropy.hpp"

#include "autograd/tape.hpp"
#include "ops/layouts.hpp"
#include "ops/losses.hpp"
#include "runtime/launch.hpp"

namespace wick {

namespace {

// saved: logits rows, targets, weights, lse, factor.
std::vector<Tensor> cross_entropy_gradient(const detail::BackwardCall& call,
                                           const detail::LossConstants& constants) {
  const Tensor& logits = call.saved[0];
  const Tensor dloss = detail::dense(call.dy());
  Tensor dlogits = Tensor::empty(logits.shape(), logits.dtype(), logits.device());
  launch(kernels::cross_entropy_backward, logits.device(),
         CrossEntropyBackwardArgs{.dloss = detail::view(dloss),
                                  .factor = detail::view(call.saved[4]),
                                  .logits = detail::view(logits),
                                  .targets = detail::view(call.saved[1]),
                                  .weights = detail::view(call.saved[2]),
                                  .lse = detail::view(call.saved[3]),
                                  .dlogits = detail::view(dlogits),
                                  .ignore_index = constants.ignore_index,
                                  .label_smoothing = constants.label_smoothing});
  return {dlogits};
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options) {
  const detail::Check check(
      "cross_entropy",
      {{"logits", logits}, {"targets", targets}, {"token_weights", options.token_weights, true}});
  check.floating("logits", logits);
  check.that(logits.rank() == 2 && logits.dim(1) >= 1, ErrorKind::kShape,
             "logits must be [N,V] with V at least 1");
  detail::check_loss(check, logits.dim(0), targets, options);

  const detail::LossConstants constants(options);
  const Tensor rows = detail::as_rows(logits);
  const Tensor classes = detail::dense(targets);
  const Tensor weights =
      options.token_weights.defined() ? detail::dense(options.token_weights) : Tensor();
  const Tensor lse = Tensor::empty({logits.dim(0)}, DType::kF32, logits.device());
  const detail::LossSums sums(logits.device());
  detail::launch_cross_entropy({.logits = rows, .targets = classes, .weights = weights, .lse = lse},
                               sums, constants);
  return detail::record("cross_entropy", {logits}, sums.reduced(options.reduction),
                        {rows, classes, weights, lse, sums.factor(options.reduction)},
                        [constants](const detail::BackwardCall& call) {
                          return cross_entropy_gradient(call, constants);
                        });
}

}  // namespace wick
