#include "backends/cuda/nccl.hpp"

#include <fmt/format.h>

#include "wick/base/error.hpp"

namespace wick::cuda {

Nccl::Nccl() : library_(fmt::format("libnccl.so.{}", NCCL_MAJOR)) {
  if (!library_.loaded()) return;
#define WICK_FIND(name) library_.find(#name, name);
  WICK_NCCL_FUNCTIONS(WICK_FIND)
#undef WICK_FIND
}

const Nccl& Nccl::get() {
  static const Nccl library;
  return library;
}

void check(ncclResult_t status, std::string_view call, ncclComm_t comm) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  const char* more = Nccl::get().ncclGetLastError(comm);
  throw Error(ErrorKind::kBackend, std::string(call), Nccl::get().ncclGetErrorString(status), {},
              more == nullptr ? "" : more);
}

}  // namespace wick::cuda
