#pragma once

#include <memory>

#include "runtime/args/attention_args.hpp"
#include "runtime/kernel_status.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cuda {

class CudaBackend;

/// Attention by cuDNN's fused graphs, one plan for each combination of shapes, kept. Refuses what they do not
/// do, and everything where the build or the machine has no cuDNN.
class CudnnAttention {
 public:
  explicit CudnnAttention(CudaBackend& backend);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  KernelStatus forward(Stream& stream, const AttentionArgs& args);
  KernelStatus backward(Stream& stream, const AttentionBackwardArgs& args);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wick::cuda
