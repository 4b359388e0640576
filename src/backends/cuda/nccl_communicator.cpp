#include "backends/cuda/nccl_communicator.hpp"

#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "backends/cuda/cuda_check.hpp"
#include "backends/cuda/cuda_stream.hpp"
#include "backends/cuda/nccl.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

using Clock = std::chrono::steady_clock;

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(CudaBackend& backend, std::unique_ptr<detail::HostCommunicator> host)
      : backend_(backend), host_(std::move(host)), end_(backend) {
    backend_.make_current();
    ncclUniqueId id{};
    if (rank() == 0) check(nccl_.ncclGetUniqueId(&id), "ncclGetUniqueId");
    const std::string shared = host_->broadcast({id.internal, sizeof id.internal});
    if (shared.size() != sizeof id.internal) {
      throw Error(ErrorKind::kBackend, "ranks", "rank 0 sent no id of NCCL's");
    }
    std::memcpy(id.internal, shared.data(), shared.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;  // so that a rank that is gone ends the wait
    try {
      check(nccl_.ncclCommInitRankConfig(&comm_, size(), id, rank(), &config),
            "ncclCommInitRankConfig");
      wait_for([this] { return state() == ncclSuccess; });
    } catch (...) {
      drop();
      throw;
    }
  }
  // Not ncclCommDestroy(), which may wait for ranks that are gone; nothing is under way any more.
  ~NcclCommunicator() override { drop(); }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const noexcept override { return host_->rank(); }
  int size() const noexcept override { return host_->size(); }

  void all_reduce_sum(float* values, std::int64_t count) override {
    if (comm_ == nullptr) {
      throw Error(ErrorKind::kBackend, "ranks", "a sum over the ranks failed before");
    }
    Stream& stream = current_stream(backend_.device());
    try {
      check(nccl_.ncclAllReduce(values, values, static_cast<std::size_t>(count), ncclFloat, ncclSum,
                                comm_, activate(stream)),
            "ncclAllReduce", comm_);
      wait_for([this] { return state() == ncclSuccess; });
      stream.record(end_);
      wait_for([this] {
        state();
        return end_.is_complete();
      });
    } catch (...) {
      drop();
      throw;
    }
  }

  void all_reduce_sum(std::span<double> values) override { host_->all_reduce_sum(values); }
  std::string broadcast(std::string_view bytes) override { return host_->broadcast(bytes); }
  void check_alive() override { host_->check_alive(); }

 private:
  // Throws what NCCL met in the background.
  ncclResult_t state() const {
    ncclResult_t result = ncclSuccess;
    check(nccl_.ncclCommGetAsyncError(comm_, &result), "ncclCommGetAsyncError", comm_);
    check(result, "nccl", comm_);
    return result;
  }

  // Looks often at first: a sum takes less than a millisecond as a rule.
  template <class Condition>
  void wait_for(const Condition& is_done) const {
    constexpr std::chrono::milliseconds kBusy{2};
    constexpr std::chrono::milliseconds kPause{1};
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::seconds(host_->timeout_s());
    while (!is_done()) {
      const auto now = Clock::now();
      if (now - begin < kBusy) continue;
      host_->check_alive();
      if (now > end) {
        throw Error(ErrorKind::kBackend, "ranks",
                    "NCCL has not come to an end: the timeout has passed");
      }
      std::this_thread::sleep_for(kPause);
    }
  }

  void drop() noexcept {
    if (comm_ != nullptr) nccl_.ncclCommAbort(comm_);
    comm_ = nullptr;
  }

  const Nccl& nccl_ = Nccl::get();
  CudaBackend& backend_;
  std::unique_ptr<detail::HostCommunicator> host_;
  CudaEvent end_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::shared_ptr<Communicator> join_by_nccl(CudaBackend& backend,
                                           std::unique_ptr<detail::HostCommunicator> host) {
  if (!Nccl::get().loaded()) {
    throw Error(ErrorKind::kUnsupported, "ranks",
                "GPUs are joined by NCCL, which cannot be loaded: " + Nccl::get().problem(), {},
                "install libnccl2 or put its folder into LD_LIBRARY_PATH");
  }
  return std::make_shared<NcclCommunicator>(backend, std::move(host));
}

}  // namespace wick::cuda
