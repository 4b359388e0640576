#pragma once

#include <string_view>

#include "backends/mps/way_table.hpp"
#include "runtime/args/softmax_args.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::mps {

/// kSoftmax or kLogSoftmax by this way alone ("rows", "mps"), as a measurement wants it; by the best where it is empty.
KernelStatus softmax_by(std::string_view way, ChoiceKernel kernel, Stream& stream,
                        const SoftmaxArgs& args);
/// The same of kSoftmaxBackward or kLogSoftmaxBackward.
KernelStatus softmax_backward_by(std::string_view way, ChoiceKernel kernel, Stream& stream,
                                 const SoftmaxBackwardArgs& args);

}  // namespace wick::mps
