#pragma once

#include <span>

#include "runtime/args/lora_linear_args.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cpu {

// Layers of one x of a few rows, as where tokens are decoded: bound by reading the weights once. All of them are one loop
// of the threads, where a product each would wait for its threads twice.

/// Whether lora_few_rows() takes the layers, which share x.
bool takes_few_rows(std::span<const LoraLinearArgs> layers);

/// out of each layer, and xa where it is asked for.
void lora_few_rows(Stream& stream, std::span<const LoraLinearArgs> layers);

}  // namespace wick::cpu
