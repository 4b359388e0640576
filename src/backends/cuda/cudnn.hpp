#pragma once

#include <cudnn_graph.h>

#include <string>
#include <string_view>

#include "backends/cuda/shared_library.hpp"

namespace wick::cuda {

// The functions of cuDNN that are used: the only list of them.
#define WICK_CUDNN_FUNCTIONS(X)    \
  X(cudnnBackendCreateDescriptor)  \
  X(cudnnBackendDestroyDescriptor) \
  X(cudnnBackendExecute)           \
  X(cudnnBackendFinalize)          \
  X(cudnnBackendGetAttribute)      \
  X(cudnnBackendSetAttribute)      \
  X(cudnnCreate)                   \
  X(cudnnDestroy)                  \
  X(cudnnGetErrorString)           \
  X(cudnnGetVersion)               \
  X(cudnnSetStream)

/// cuDNN, loaded at run time. Members have the names of the library's functions.
class Cudnn {
 public:
  /// The library of this process, loaded at the first call.
  static const Cudnn& get();

  /// Why it cannot be used; empty when it can.
  const std::string& problem() const noexcept { return problem_; }

#define WICK_MEMBER(name) decltype(&::name) name = nullptr;
  WICK_CUDNN_FUNCTIONS(WICK_MEMBER)
#undef WICK_MEMBER

 private:
  Cudnn();
  SharedLibrary library_;
  std::string problem_;
};

/// Throws Error kDevice when `status` is no success.
void check(cudnnStatus_t status, std::string_view call);

}  // namespace wick::cuda
