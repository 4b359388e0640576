#include "runtime/socket.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "wick/base/error.hpp"

namespace wick::detail {

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::kBackend, "ranks", what); }

[[noreturn]] void fail_with_errno(const std::string& what) {
  fail(what + ": " + std::strerror(errno));
}

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (status != 0) fail("address " + address + " is not known: " + ::gai_strerror(status));
  return {found, &::freeaddrinfo};
}

int open_for(const addrinfo& address) {
  const int handle = ::socket(address.ai_family, address.ai_socktype, address.ai_protocol);
  if (handle < 0) fail_with_errno("no socket");
  ::fcntl(handle, F_SETFD, FD_CLOEXEC);
  return handle;
}

// Neither end waits: deadlines are kept by poll().
void prepare(int handle) {
  const int on = 1;
  ::setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(handle, F_SETFD, FD_CLOEXEC);
  ::fcntl(handle, F_SETFL, ::fcntl(handle, F_GETFL) | O_NONBLOCK);
}

bool would_wait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Socket::~Socket() {
  if (handle_ >= 0) ::close(handle_);
}

Socket::Socket(Socket&& other) noexcept : handle_(std::exchange(other.handle_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

Socket Socket::listen(const std::string& address, std::uint16_t port) {
  const Addresses addresses = resolve(address, port);
  Socket socket(open_for(*addresses));
  const int on = 1;
  ::setsockopt(socket.handle_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool is_bound = ::bind(socket.handle_, addresses->ai_addr, addresses->ai_addrlen) == 0 &&
                        ::listen(socket.handle_, SOMAXCONN) == 0;
  if (!is_bound) fail_with_errno("cannot listen at " + address + ":" + std::to_string(port));
  prepare(socket.handle_);
  return socket;
}

Socket Socket::connect(const std::string& address, std::uint16_t port, Deadline deadline,
                       const std::string& peer) {
  constexpr std::chrono::milliseconds kPause{20};
  const Addresses addresses = resolve(address, port);
  while (true) {
    Socket socket(open_for(*addresses));
    if (::connect(socket.handle_, addresses->ai_addr, addresses->ai_addrlen) == 0) {
      prepare(socket.handle_);
      return socket;
    }
    if (Clock::now() >= deadline) {
      fail_with_errno(fmt::format("{} does not answer at {}:{}", peer, address, port));
    }
    std::this_thread::sleep_for(kPause);
  }
}

bool Socket::wait_for(short events, Deadline deadline) const {
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd file{.fd = handle_, .events = events, .revents = 0};
    const int ready = ::poll(&file, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) fail_with_errno("a socket cannot be waited for");
    if (Clock::now() >= deadline) return false;
  }
}

Socket Socket::accept(Deadline deadline) const {
  while (wait_for(POLLIN, deadline)) {
    const int handle = ::accept(handle_, nullptr, nullptr);
    if (handle >= 0) {
      prepare(handle);
      return Socket(handle);
    }
    if (!would_wait() && errno != ECONNABORTED) fail_with_errno("no connection can be taken");
  }
  return {};
}

std::uint16_t Socket::port() const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  void* const place = &address;
  if (::getsockname(handle_, static_cast<sockaddr*>(place), &size) != 0) {
    fail_with_errno("a socket has no address");
  }
  // Both kinds of internet address have it at the same place.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  sockaddr_in inet{};
  std::memcpy(&inet, &address, sizeof inet);
  return ntohs(inet.sin_port);
}

void Socket::send(std::span<const std::byte> bytes, Deadline deadline,
                  const std::string& peer) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (sent < 0 && !would_wait()) {
      fail_with_errno(peer + " is gone");
    } else if (!wait_for(POLLOUT, deadline)) {
      fail(peer + " takes nothing any more: the timeout has passed");
    }
  }
}

void Socket::receive(std::span<std::byte> bytes, Deadline deadline, const std::string& peer) const {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(handle_, bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (got == 0) {
      fail(peer + " is gone: it closed its connection");
    } else if (!would_wait()) {
      fail_with_errno(peer + " is gone");
    } else if (!wait_for(POLLIN, deadline)) {
      fail(peer + " does not answer: the timeout has passed");
    }
  }
}

bool Socket::is_closed() const {
  std::byte next{};
  const ssize_t got = ::recv(handle_, &next, 1, MSG_PEEK);
  return got == 0 || (got < 0 && !would_wait());
}

}  // namespace wick::detail
