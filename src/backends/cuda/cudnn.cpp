#include "backends/cuda/cudnn.hpp"

#include <fmt/format.h>

#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

// The first whose masks we rely on: causal with fewer queries than keys, of any lengths.
constexpr std::size_t kOldest = 91100;

}  // namespace

Cudnn::Cudnn()
    : library_(fmt::format("libcudnn.so.{}", CUDNN_MAJOR)), problem_(library_.problem()) {
  if (!library_.loaded()) return;
  problem_.clear();  // found where the loader does not look
#define WICK_FIND(name) library_.find(#name, name);
  WICK_CUDNN_FUNCTIONS(WICK_FIND)
#undef WICK_FIND
  const std::size_t version = cudnnGetVersion();
  if (version < kOldest) {
    problem_ = fmt::format("cuDNN {} is older than {}", version, kOldest);
  }
}

const Cudnn& Cudnn::get() {
  static const Cudnn library;
  return library;
}

void check(cudnnStatus_t status, std::string_view call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw Error(ErrorKind::kDevice, std::string(call), Cudnn::get().cudnnGetErrorString(status));
}

}  // namespace wick::cuda
