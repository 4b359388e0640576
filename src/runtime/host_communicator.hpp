#pragma once

#include <string_view>
#include <vector>

#include "runtime/socket.hpp"
#include "wick/runtime/communicator.hpp"

namespace wick::detail {

/// Ranks joined by sockets, rank 0 in the middle: for numbers of the host, and for everything on the CPU.
class HostCommunicator final : public Communicator {
 public:
  /// Meets the other ranks. Throws Error kBackend when some do not come.
  explicit HostCommunicator(RankOptions options);

  int rank() const noexcept override { return options_.rank; }
  int size() const noexcept override { return options_.size; }
  void all_reduce_sum(float* values, std::int64_t count) override;
  void all_reduce_sum(std::span<double> values) override;
  std::string broadcast(std::string_view bytes) override;
  void check_alive() override;
  /// Longest time without an answer.
  int timeout_s() const noexcept { return options_.timeout_s; }

 private:
  enum class Call : std::uint32_t { kFloats = 1, kDoubles, kBytes };

  void gather();
  void join();
  Deadline deadline() const;
  std::string name_of(std::size_t peer) const;
  void send(std::size_t peer, Call call, std::span<const std::byte> bytes) const;
  std::size_t receive_header(std::size_t peer, Call call) const;
  void receive(std::size_t peer, Call call, std::span<std::byte> bytes) const;
  template <class Number>
  void sum(Call call, std::span<Number> values) const;

  RankOptions options_;
  std::vector<Socket> peers_;  ///< of rank 0: ranks 1, 2, …; of another: rank 0
};

}  // namespace wick::detail
