#pragma once

#include "runtime/args/attention_args.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cpu {

/// Attention of f32 that is so small that double costs it a few microseconds: at most 2¹⁸ multiplications a product. All of it is
/// computed in double from the operands and rounded once. Refused: what is larger, other dtypes, the few queries of decoding, and
/// operands with an infinity or NaN, which a mask may have to hide.
KernelStatus attention_in_double(Stream& stream, const AttentionArgs& args);

/// Its gradients, likewise.
KernelStatus attention_backward_in_double(Stream& stream, const AttentionBackwardArgs& args);

}  // namespace wick::cpu
