#pragma once

#include <memory>

#include "backends/cuda/cuda_backend.hpp"
#include "runtime/host_communicator.hpp"

namespace wick::cuda {

/// Joins the GPU of `backend` with those of the other ranks: GPU memory is summed by NCCL, numbers of the host by `host`.
/// Throws Error kUnsupported when this build or this machine has no NCCL, with the reason; kBackend when NCCL fails.
std::shared_ptr<Communicator> join_by_nccl(CudaBackend& backend,
                                           std::unique_ptr<detail::HostCommunicator> host);

}  // namespace wick::cuda
