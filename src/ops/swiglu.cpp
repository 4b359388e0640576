#include "autograd/tape.hpp"
#include "ops/checks.hpp"
#include "ops/layouts.hpp"
#include "runtime/args/elementwise_args.hpp"
#include "runtime/launch.hpp"
#include "wick/ops/activation.hpp"

namespace wick {

namespace {

std::vector<Tensor> swiglu_gradient(const detail::BackwardCall& call) {
  const Tensor gate = detail::as_rows(call.saved[0]);
  const Tensor up = detail::as_rows(call.saved[1]);
  const Tensor dy = detail::dense_rows(call.dy());
  std::vector<Tensor> grads(2);
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (call.wanted[i]) grads[i] = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  }
  launch(kernels::swiglu_backward, dy.device(),
         SwigluBackwardArgs{.dy = detail::view(dy),
                            .gate = detail::view(gate),
                            .up = detail::view(up),
                            .dgate = detail::view(grads[0]),
                            .dup = detail::view(grads[1])});
  for (Tensor& grad : grads) {
    if (grad.defined()) grad = detail::with_shape(grad, call.dy().shape());
  }
  return grads;
}

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  const detail::Check check("swiglu", {{"gate", gate}, {"up", up}});
  check.floating("gate", gate);
  check.same_dtype("gate", gate, "up", up);
  check.that(gate.rank() >= 1, ErrorKind::kShape, "gate must have at least one dimension");
  check.shape("up", up, gate.shape(), "to match gate");
  const Tensor gate_rows = detail::as_rows(gate);
  const Tensor up_rows = detail::as_rows(up);
  Tensor out = Tensor::empty(gate.shape(), gate.dtype(), gate.device());
  const Tensor out_rows = detail::with_shape(out, gate_rows.shape());
  launch(kernels::swiglu, gate.device(),
         SwigluArgs{.gate = detail::view(gate_rows),
                    .up = detail::view(up_rows),
                    .out = detail::view(out_rows)});
  detail::offer_recipe("swiglu", out, {gate, up},
                       [](std::span<const Tensor> inputs) { return swiglu(inputs[0], inputs[1]); });
  return detail::record("swiglu", {gate, up}, out, {gate, up}, swiglu_gradient);
}

}  // namespace wick
