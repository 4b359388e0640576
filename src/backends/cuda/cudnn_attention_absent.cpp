#include "backends/cuda/cudnn_attention.hpp"

// What stands for cudnn_attention.cpp where cuDNN's headers were not found.

namespace wick::cuda {

struct CudnnAttention::State {};

CudnnAttention::CudnnAttention(CudaBackend& /*backend*/) {}
CudnnAttention::~CudnnAttention() = default;

KernelStatus CudnnAttention::forward(Stream& /*stream*/, const AttentionArgs& /*args*/) {
  return KernelStatus::unsupported("built without cuDNN");
}

KernelStatus CudnnAttention::backward(Stream& /*stream*/, const AttentionBackwardArgs& /*args*/) {
  return KernelStatus::unsupported("built without cuDNN");
}

}  // namespace wick::cuda
