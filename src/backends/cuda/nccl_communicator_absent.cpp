#include "backends/cuda/nccl_communicator.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

std::shared_ptr<Communicator> join_by_nccl(CudaBackend& /*backend*/,
                                           std::unique_ptr<detail::HostCommunicator> /*host*/) {
  throw Error(ErrorKind::kUnsupported, "ranks",
              "this build cannot join GPUs: nccl.h was not found when it was made");
}

}  // namespace wick::cuda
