#include "backends/mps/mps_kernels.hpp"
#include "runtime/args/all_args.hpp"

// Kernels that are still to be written. The file goes when the last of them has a place of its own.

namespace wick::mps {

#define WICK_NOT_YET(id, Args)                                   \
  KernelStatus id(Stream&, const Args&) {                        \
    return KernelStatus::unsupported(#id " is not written yet"); \
  }

WICK_NOT_YET(matmul, MatmulArgs)
WICK_NOT_YET(lora_linear, LoraLinearArgs)
WICK_NOT_YET(lora_linear_backward, LoraLinearBackwardArgs)
#undef WICK_NOT_YET

}  // namespace wick::mps
