#pragma once

#include <nccl.h>

#include <string>
#include <string_view>

#include "backends/cuda/shared_library.hpp"

namespace wick::cuda {

// The functions of NCCL that are used: the only list of them.
#define WICK_NCCL_FUNCTIONS(X) \
  X(ncclAllReduce)             \
  X(ncclCommAbort)             \
  X(ncclCommGetAsyncError)     \
  X(ncclCommInitRankConfig)    \
  X(ncclGetErrorString)        \
  X(ncclGetLastError)          \
  X(ncclGetUniqueId)

/// NCCL, loaded at run time. Members have the names of the library's functions.
class Nccl {
 public:
  /// The library of this process, loaded at the first call.
  static const Nccl& get();

  /// Empty when the library was found.
  const std::string& problem() const noexcept { return library_.problem(); }
  bool loaded() const noexcept { return library_.loaded(); }

// NOLINTNEXTLINE(readability-identifier-naming): the library's own names
#define WICK_MEMBER(name) decltype(&::name) name = nullptr;
  WICK_NCCL_FUNCTIONS(WICK_MEMBER)
#undef WICK_MEMBER

 private:
  Nccl();
  SharedLibrary library_;
};

/// Throws Error kBackend with NCCL's own words when `status` is a failure; work in progress is none.
void check(ncclResult_t status, std::string_view call, ncclComm_t comm = nullptr);

}  // namespace wick::cuda
