#pragma once

#include <string_view>

#include "runtime/args/lora_linear_args.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

/// lora_linear by this way alone ("few_rows", "mps", "fused"), as a measurement wants it; by the best where it is empty.
KernelStatus lora_linear_by(std::string_view way, Stream& stream, const LoraLinearArgs& args);
/// The same of lora_linear_backward, whose dx goes by "mps" or "fused" where an adapter without dropout adds to it.
KernelStatus lora_linear_backward_by(std::string_view way, Stream& stream,
                                     const LoraLinearBackwardArgs& args);

}  // namespace wick::mps
