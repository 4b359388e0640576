#pragma once

#include "runtime/args/elementwise_args.hpp"
#include "runtime/args/lora_linear_args.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

// lora_linears for backends without a way of doing several layers at once: layer by layer.

namespace wick {

/// `forward` is the backend's lora_linear.
template <class Forward>
KernelStatus forward_layer_by_layer(Stream& stream, const LoraLinearsArgs& args,
                                    const Forward& forward) {
  for (const LoraLinearArgs& layer : args.parts()) {
    KernelStatus status = forward(stream, layer);
    if (!status.is_ok()) return status;
  }
  return KernelStatus::ok();
}

/// The gradients of x are added up. `backward` and `add` are the backend's lora_linear_backward and add; Scratch is its
/// temporary memory.
template <class Scratch, class Backward, class Add>
KernelStatus backward_layer_by_layer(Stream& stream, const LoraLinearsBackwardArgs& args,
                                     const Backward& backward, const Add& add) {
  const TensorView& dx = args.parts().front().dx;
  const bool adds = dx && args.count > 1;
  const Scratch room(stream, adds ? static_cast<std::size_t>(dx.numel()) * size_of(dx.dtype) : 0);
  TensorView own = dx;
  own.data = room.data();
  for (std::size_t i = 0; i < args.count; ++i) {
    LoraLinearBackwardArgs layer = args.each[i];
    if (adds && i > 0) layer.dx = own;
    KernelStatus status = backward(stream, layer);
    if (status.is_ok() && adds && i > 0) {
      status = add(stream, BinaryArgs{.a = dx, .b = own, .out = dx});
    }
    if (!status.is_ok()) return status;
  }
  return KernelStatus::ok();
}

}  // namespace wick
