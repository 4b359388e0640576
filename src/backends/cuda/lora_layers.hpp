#pragma once

#include <span>

#include "runtime/args/lora_linear_args.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cuda {

// LoRA layers of one x on Hopper: adapters read x together, and base and adapter are one product, in one launch for all
// layers.

/// Enqueues the layers, or says why not: dropout, ranks and sizes that multiply_thin() or multiply_hopper_lora() refuse.
KernelStatus forward_together(Stream& stream, std::span<const LoraLinearArgs> layers);

/// Their gradients, except for those of biases. As above; also where the gradient of an adapter is not wanted.
KernelStatus backward_together(Stream& stream, std::span<const LoraLinearBackwardArgs> layers);

/// Two layers, and swiglu of their results. As above.
KernelStatus forward_with_swiglu(Stream& stream, const LoraSwigluArgs& args);

/// A layer's gradients, and the gradient of the swiglu before it. As above.
KernelStatus backward_with_swiglu(Stream& stream, const LoraSwigluBackwardArgs& args);

}  // namespace wick::cuda
