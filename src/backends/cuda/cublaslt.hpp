#pragma once

#include <cublasLt.h>

#include <string>

#include "backends/cuda/shared_library.hpp"

namespace wick::cuda {

// The functions of cuBLASLt that are used: the only list of them.
#define WICK_CUBLASLT_FUNCTIONS(X)        \
  X(cublasLtCreate)                       \
  X(cublasLtDestroy)                      \
  X(cublasLtMatmul)                       \
  X(cublasLtMatmulAlgoGetHeuristic)       \
  X(cublasLtMatmulDescCreate)             \
  X(cublasLtMatmulDescDestroy)            \
  X(cublasLtMatmulDescSetAttribute)       \
  X(cublasLtMatmulPreferenceCreate)       \
  X(cublasLtMatmulPreferenceDestroy)      \
  X(cublasLtMatmulPreferenceSetAttribute) \
  X(cublasLtMatrixLayoutCreate)           \
  X(cublasLtMatrixLayoutDestroy)          \
  X(cublasLtMatrixLayoutSetAttribute)     \
  X(cublasLtGetStatusString)

/// cuBLASLt, loaded at run time. Members have the names of the library's functions.
class CublasLt {
 public:
  /// The library of this process, loaded at the first call.
  static const CublasLt& get();

  /// Empty when the library was found.
  const std::string& problem() const noexcept { return library_.problem(); }
  bool loaded() const noexcept { return library_.loaded(); }

#define WICK_MEMBER(name) decltype(&::name) name = nullptr;
  WICK_CUBLASLT_FUNCTIONS(WICK_MEMBER)
#undef WICK_MEMBER

 private:
  CublasLt();
  SharedLibrary library_;
};

/// Throws Error kDevice when `status` is no success.
void check(cublasStatus_t status, std::string_view call);

}  // namespace wick::cuda
