#include <cmath>
#include <vector>

#include "ops/checks.hpp"
#include "runtime/args/optimizer_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/optimizer.hpp"

namespace wick {

Tensor clip_grad_norm_(std::span<const Tensor> gradients, double max_norm) {
  const detail::Check check("clip_grad_norm_", "gradient", gradients);
  check.that(!gradients.empty(), ErrorKind::kArgument, "at least one gradient is needed");
  check.that(max_norm > 0, ErrorKind::kArgument, "max_norm must be positive, got {}", max_norm);
  std::vector<TensorView> views;
  for (const Tensor& gradient : gradients) {
    check.floating("every gradient", gradient);
    check.that(gradient.is_contiguous() && detail::is_aligned(gradient), ErrorKind::kShape,
               "every gradient must be dense");
    views.push_back(detail::view(gradient));
  }
  const Device device = gradients.front().device();
  Tensor norm = Tensor::empty({}, DType::kF32, device);
  launch(kernels::global_norm, device, GlobalNormArgs{.tensors = views, .out = detail::view(norm)});
  if (std::isinf(max_norm)) return norm;
  launch(kernels::clip_by_norm, device,
         ClipByNormArgs{.tensors = views, .norm = detail::view(norm), .max_norm = max_norm});
  for (const Tensor& gradient : gradients) detail::bump_version(gradient);
  return norm;
}

}  // namespace wick
