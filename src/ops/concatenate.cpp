#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/move.hpp"

namespace wick {

namespace {

void check_joinable(const detail::Check& check, const std::vector<Tensor>& tensors, int axis) {
  const Tensor& first = tensors.front();
  for (const Tensor& tensor : tensors) {
    check.that(tensor.dtype() == first.dtype(), ErrorKind::kDtype,
               "all tensors must have one dtype");
    check.that(tensor.rank() == first.rank() &&
                   detail::with_dim(tensor.shape(), axis, first.dim(axis)) == first.shape(),
               ErrorKind::kShape, "all tensors must have one shape but for axis {}", axis);
  }
}

}  // namespace

Tensor concatenate(const std::vector<Tensor>& tensors, int axis) {
  const detail::Check check("concatenate", "tensor", tensors);
  check.that(!tensors.empty(), ErrorKind::kArgument, "at least one tensor is needed");
  const Tensor& first = tensors.front();
  const int along = check.axis("tensor 0", first, axis);
  check_joinable(check, tensors, along);
  std::vector<std::int64_t> starts{0};
  for (const Tensor& tensor : tensors) starts.push_back(starts.back() + tensor.dim(along));

  Tensor out = Tensor::empty(detail::with_dim(first.shape(), along, starts.back()), first.dtype(),
                             first.device());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Layout part = slice(detail::layout_of(out), along, starts[i], starts[i + 1]);
    launch(kernels::copy, first.device(),
           CopyArgs{.src = detail::view(tensors[i]), .dst = detail::view(out, part)});
  }
  detail::record("concatenate", tensors, std::span(&out, 1), {},
                 [starts, along](const detail::BackwardCall& call) {
                   std::vector<Tensor> grads(starts.size() - 1);
                   for (std::size_t i = 0; i < grads.size(); ++i) {
                     if (call.wanted[i]) {
                       grads[i] = slice(call.dy(), along, starts[i], starts[i + 1]);
                     }
                   }
                   return grads;
                 });
  return out;
}

}  // namespace wick
