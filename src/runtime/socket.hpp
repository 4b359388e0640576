#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace wick::detail {

using Deadline = std::chrono::steady_clock::time_point;

/// A TCP socket. What fails throws Error kBackend, whose rule begins with `peer`: who is at the other end.
class Socket {
 public:
  Socket() = default;
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// Listens at `address`; port 0 takes a free one.
  static Socket listen(const std::string& address, std::uint16_t port);
  /// Connects, again and again until the deadline: who listens may come later.
  static Socket connect(const std::string& address, std::uint16_t port, Deadline deadline,
                        const std::string& peer);
  /// The next connection; an undefined socket when none has come by the deadline.
  Socket accept(Deadline deadline) const;
  /// The port that listen() took.
  std::uint16_t port() const;

  bool defined() const noexcept { return handle_ >= 0; }
  void send(std::span<const std::byte> bytes, Deadline deadline, const std::string& peer) const;
  void receive(std::span<std::byte> bytes, Deadline deadline, const std::string& peer) const;
  /// True when the other end has closed it, and all it sent has been received.
  bool is_closed() const;

 private:
  explicit Socket(int handle) : handle_(handle) {}
  bool wait_for(short events, Deadline deadline) const;

  int handle_ = -1;
};

}  // namespace wick::detail
