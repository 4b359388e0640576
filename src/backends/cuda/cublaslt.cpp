#include "backends/cuda/cublaslt.hpp"

#include <fmt/format.h>

#include "wick/base/error.hpp"

namespace wick::cuda {

CublasLt::CublasLt() : library_(fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR)) {
  if (!library_.loaded()) return;
#define WICK_FIND(name) library_.find(#name, name);
  WICK_CUBLASLT_FUNCTIONS(WICK_FIND)
#undef WICK_FIND
}

const CublasLt& CublasLt::get() {
  static const CublasLt library;
  return library;
}

void check(cublasStatus_t status, std::string_view call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorKind::kDevice, std::string(call),
              CublasLt::get().cublasLtGetStatusString(status));
}

}  // namespace wick::cuda
