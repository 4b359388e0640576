#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/all_args.hpp"

// Kernels that are still to be written. The file goes when the last of them has a place of its own.

namespace wick::mps {

#define WICK_NOT_YET(id, Args)                                   \
  KernelStatus id(Stream&, const Args&) {                        \
    return KernelStatus::unsupported(#id " is not written yet"); \
  }

WICK_NOT_YET(silu, UnaryArgs)
WICK_NOT_YET(silu_backward, UnaryBackwardArgs)
WICK_NOT_YET(gelu, GeluArgs)
WICK_NOT_YET(gelu_backward, GeluBackwardArgs)
WICK_NOT_YET(swiglu, SwigluArgs)
WICK_NOT_YET(swiglu_backward, SwigluBackwardArgs)
WICK_NOT_YET(dora_gain, DoraGainArgs)
WICK_NOT_YET(dora_gain_backward, DoraGainBackwardArgs)
WICK_NOT_YET(rms_norm, RmsNormArgs)
WICK_NOT_YET(rms_norm_backward, RmsNormBackwardArgs)
WICK_NOT_YET(layer_norm, LayerNormArgs)
WICK_NOT_YET(layer_norm_backward, LayerNormBackwardArgs)
WICK_NOT_YET(softmax, SoftmaxArgs)
WICK_NOT_YET(softmax_backward, SoftmaxBackwardArgs)
WICK_NOT_YET(log_softmax, SoftmaxArgs)
WICK_NOT_YET(log_softmax_backward, SoftmaxBackwardArgs)
WICK_NOT_YET(rope, RopeArgs)
WICK_NOT_YET(attention, AttentionArgs)
WICK_NOT_YET(attention_backward, AttentionBackwardArgs)
WICK_NOT_YET(cross_entropy, CrossEntropyArgs)
WICK_NOT_YET(cross_entropy_backward, CrossEntropyBackwardArgs)
WICK_NOT_YET(adamw, AdamwArgs)
WICK_NOT_YET(global_norm, GlobalNormArgs)
WICK_NOT_YET(clip_by_norm, ClipByNormArgs)
#undef WICK_NOT_YET

}  // namespace wick::mps
