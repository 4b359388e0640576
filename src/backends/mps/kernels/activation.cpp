#include <algorithm>

#include "backends/mps/dispatch.hpp"
#include "backends/mps/kernels/activation_kargs.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/elementwise_args.hpp"

namespace wick::mps {

static_assert(sizeof(ActivationKargs) == 8);
static_assert(sizeof(SwigluKargs) == 16);

namespace {

void forward(Stream& stream, Activation activation, const TensorView& x, const TensorView& out) {
  if (x.numel() == 0) return;
  Dispatch(stream, {"activation", "activation", {activation, dtype_of(x)}})
      .buffer(x)
      .buffer(out)
      .value(ActivationKargs{x.numel()})
      .items(x.numel());
}

void backward(Stream& stream, Activation activation, const TensorView& dy, const TensorView& x,
              const TensorView& dx) {
  if (x.numel() == 0) return;
  Dispatch(stream, {"activation", "activation_backward", {activation, dtype_of(x)}})
      .buffer(dy)
      .buffer(x)
      .buffer(dx)
      .value(ActivationKargs{x.numel()})
      .items(x.numel());
}

Activation gelu_of(bool tanh_approximation) {
  return tanh_approximation ? kActivationGeluTanh : kActivationGeluErf;
}

}  // namespace

KernelStatus silu(Stream& stream, const UnaryArgs& args) {
  forward(stream, kActivationSilu, args.x, args.out);
  return KernelStatus::ok();
}

KernelStatus silu_backward(Stream& stream, const UnaryBackwardArgs& args) {
  backward(stream, kActivationSilu, args.dy, args.x, args.dx);
  return KernelStatus::ok();
}

KernelStatus gelu(Stream& stream, const GeluArgs& args) {
  forward(stream, gelu_of(args.tanh_approximation), args.x, args.out);
  return KernelStatus::ok();
}

KernelStatus gelu_backward(Stream& stream, const GeluBackwardArgs& args) {
  backward(stream, gelu_of(args.tanh_approximation), args.dy, args.x, args.dx);
  return KernelStatus::ok();
}

KernelStatus swiglu(Stream& stream, const SwigluArgs& args) {
  if (args.gate.numel() == 0) return KernelStatus::ok();
  Dispatch(stream, {"activation", "swiglu", {kActivationSilu, dtype_of(args.gate)}})
      .buffer(args.gate)
      .buffer(args.up)
      .buffer(args.out)
      .value(SwigluKargs{args.gate.stride(0), args.up.stride(0)})
      .elements(args.gate.dim(0), args.gate.dim(1));
  return KernelStatus::ok();
}

KernelStatus swiglu_backward(Stream& stream, const SwigluBackwardArgs& args) {
  if (args.gate.numel() == 0 || (!args.dgate && !args.dup)) return KernelStatus::ok();
  Dispatch(stream,
           {"activation",
            "swiglu_backward",
            {kActivationSilu, dtype_of(args.gate), args.dgate ? 1u : 0u, args.dup ? 1u : 0u}})
      .buffer(args.dy)
      .buffer(args.gate)
      .buffer(args.up)
      .buffer(args.dgate)
      .buffer(args.dup)
      .value(SwigluKargs{args.gate.stride(0), args.up.stride(0)})
      .elements(args.gate.dim(0), args.gate.dim(1));
  return KernelStatus::ok();
}

}  // namespace wick::mps
