#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wick/layout/device.hpp"

namespace wick {

/// Processes that work on one thing together, each a rank from 0. Every rank makes the same calls in the same order; a
/// call returns when all have made it. Throws Error kBackend naming the rank that is gone, or that said nothing for longer
/// than the timeout: after that nothing else can be done with it.
class Communicator {
 public:
  Communicator() = default;
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// Which of them this process is, of [0, size()).
  virtual int rank() const noexcept = 0;
  /// How many there are.
  virtual int size() const noexcept = 0;
  /// Sums `count` numbers at `values`, in the memory of the communicator's device, over all ranks; every rank has the same
  /// bytes afterwards. Comes after the work that is on the device's current stream.
  virtual void all_reduce_sum(float* values, std::int64_t count) = 0;
  /// As above for a few numbers of the host; they are added in the order of the ranks.
  virtual void all_reduce_sum(std::span<double> values) = 0;
  /// What rank 0 gives; the other ranks' `bytes` count for nothing.
  virtual std::string broadcast(std::string_view bytes) = 0;
  /// Throws, as the other calls, when a rank is known to be gone; waits for none.
  virtual void check_alive() = 0;
  /// Returns when all ranks have come here.
  void barrier();
};

/// One rank's place, in the words of torchrun.
struct RankOptions {
  int rank = 0;
  int local_rank = 0;  ///< on its host
  int size = 1;
  std::string address = "127.0.0.1";  ///< where rank 0 listens
  std::uint16_t port = 29500;
  int timeout_s = 600;  ///< longest time without an answer
};

/// The place that RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT give to this process, or mpirun's
/// OMPI_COMM_WORLD_RANK, _LOCAL_RANK and _SIZE; nothing when it is alone. Throws Error kArgument for a value that is wrong.
std::optional<RankOptions> rank_from_environment();

/// The environment of this process ("NAME=value") with the place of a rank in it: for who starts the ranks.
std::vector<std::string> environment_of_rank(const RankOptions& options);

/// Meets the other ranks; each computes on its own `device`. Numbers of the host go over sockets, those of GPUs over NCCL.
/// Throws Error kBackend naming the ranks that did not come within the timeout; kUnsupported for a device that has no way
/// to sum over processes, with the reason.
std::shared_ptr<Communicator> make_communicator(const RankOptions& options, Device device);

}  // namespace wick
