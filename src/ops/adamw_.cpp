#include <cmath>
#include <vector>

#include "ops/checks.hpp"
#include "runtime/args/optimizer_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/optimizer.hpp"

namespace wick {

namespace {

void check_options(std::int64_t step, const AdamwOptions& o) {
  const detail::Check check("adamw_", {});
  check.that(step >= 1, ErrorKind::kArgument, "step must be at least 1, got {}", step);
  const auto not_negative = [&](const char* name, double value) {
    check.that(std::isfinite(value) && value >= 0, ErrorKind::kArgument,
               "{} must be finite and not negative, got {}", name, value);
  };
  not_negative("lr", o.lr);
  not_negative("eps", o.eps);
  not_negative("weight_decay", o.weight_decay);
  check.that(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1, ErrorKind::kArgument,
             "beta1 and beta2 must be in [0, 1), got {} and {}", o.beta1, o.beta2);
}

void check_scalar(const Tensor& tensor, const char* name, DType dtype, Device device) {
  if (!tensor.defined()) return;
  const detail::Check check("adamw_", {{name, tensor}});
  check.that(tensor.dtype() == dtype, ErrorKind::kDtype, "{} must be {}", name, to_string(dtype));
  check.shape(name, tensor, {}, "(a scalar)");
  check.that(tensor.device() == device, ErrorKind::kDevice, "{} must be on {}", name,
             to_string(device));
}

// The gradient as the kernel reads it: dense.
Tensor checked_gradient(const AdamwParameter& p, std::size_t position, Device device) {
  const detail::Check given("adamw_", {{"parameter", p.parameter}, {"m", p.m}, {"v", p.v}});
  const Tensor grad = p.parameter.grad();
  given.that(grad.defined(), ErrorKind::kArgument, "parameter {} has no gradient", position);
  given.that(p.parameter.device() == device, ErrorKind::kDevice,
             "parameter {} must be on {} like the first one", position, to_string(device));
  given.floating("parameter", p.parameter);
  given.that(p.m.dtype() == DType::kF32 && p.v.dtype() == DType::kF32, ErrorKind::kDtype,
             "m and v must be f32");
  given.shape("m", p.m, p.parameter.shape(), "to match the parameter");
  given.shape("v", p.v, p.parameter.shape(), "to match the parameter");
  for (const Tensor& tensor : {p.parameter, p.m, p.v}) {
    given.that(tensor.is_contiguous() && detail::is_aligned(tensor), ErrorKind::kShape,
               "parameter, m and v must be dense");
  }
  return detail::dense(grad);
}

}  // namespace

void adamw_(std::span<const AdamwParameter> parameters, std::int64_t step,
            const AdamwOptions& options) {
  check_options(step, options);
  if (parameters.empty()) return;
  detail::impl_of("adamw_", parameters.front().parameter);
  const Device device = parameters.front().parameter.device();
  check_scalar(options.lr_tensor, "lr_tensor", DType::kF32, device);
  check_scalar(options.step_tensor, "step_tensor", DType::kI64, device);

  std::vector<Tensor> grads;
  std::vector<AdamwTensor> tensors;
  for (const AdamwParameter& p : parameters) {
    grads.push_back(checked_gradient(p, grads.size(), device));
    tensors.push_back({.param = detail::view(p.parameter),
                       .grad = detail::view(grads.back()),
                       .m = detail::view(p.m),
                       .v = detail::view(p.v)});
  }
  launch(kernels::adamw, device,
         AdamwArgs{.tensors = tensors,
                   .lr = options.lr,
                   .beta1 = options.beta1,
                   .beta2 = options.beta2,
                   .eps = options.eps,
                   .weight_decay = options.weight_decay,
                   .step = step,
                   .lr_tensor = detail::view(options.lr_tensor),
                   .step_tensor = detail::view(options.step_tensor)});
  for (const AdamwParameter& p : parameters) {
    for (const Tensor& tensor : {p.parameter, p.m, p.v}) detail::bump_version(tensor);
  }
}

}  // namespace wick
