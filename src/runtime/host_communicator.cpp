#include "runtime/host_communicator.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "runtime/backend.hpp"
#include "wick/base/error.hpp"

namespace wick {

namespace detail {

namespace {

using Clock = std::chrono::steady_clock;

// What a rank says first: strangers may knock at a port too.
struct Hello {
  std::array<char, 8> magic{'w', 'i', 'c', 'k', 'r', 'n', 'k', '1'};
  std::int32_t rank = 0;
  std::int32_t size = 0;
};

struct Header {
  std::uint32_t call = 0;
  std::uint32_t padding = 0;
  std::uint64_t bytes = 0;
};

template <class Value>
std::span<std::byte> bytes_of(Value& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

[[noreturn]] void fail(const std::string& rule, std::string hint = {}) {
  throw Error(ErrorKind::kBackend, "ranks", rule, {}, std::move(hint));
}

}  // namespace

HostCommunicator::HostCommunicator(RankOptions options) : options_(std::move(options)) {
  if (options_.size < 1 || options_.rank < 0 || options_.rank >= options_.size) {
    throw Error(ErrorKind::kArgument, "ranks",
                fmt::format("the rank must be in [0, {}), got {}", options_.size, options_.rank));
  }
  if (options_.size == 1) return;
  if (options_.rank == 0) {
    gather();
  } else {
    join();
  }
}

// Rank 0 gives up first, so that the error names the rank that is silent and not the one that waits for it.
Deadline HostCommunicator::deadline() const {
  const std::chrono::milliseconds timeout{std::int64_t{1000} * options_.timeout_s};
  return Clock::now() + (options_.rank == 0 ? timeout : timeout + timeout / 4);
}

std::string HostCommunicator::name_of(std::size_t peer) const {
  return fmt::format("rank {}", options_.rank == 0 ? peer + 1 : 0);
}

void HostCommunicator::gather() {
  const Socket door = Socket::listen(options_.address, options_.port);
  peers_.resize(static_cast<std::size_t>(options_.size) - 1);
  const Deadline end = deadline();
  for (std::size_t missing = peers_.size(); missing > 0;) {
    Socket next = door.accept(end);
    if (!next.defined()) {
      std::string names;
      for (std::size_t i = 0; i < peers_.size(); ++i) {
        if (!peers_[i].defined()) names += (names.empty() ? "" : ", ") + std::to_string(i + 1);
      }
      fail(fmt::format("rank {} did not come within {} s", names, options_.timeout_s),
           fmt::format("{} ranks are expected at {}:{}", options_.size, options_.address,
                       options_.port));
    }
    Hello hello;
    try {
      constexpr std::chrono::seconds kForAGreeting{10};
      next.receive(bytes_of(hello), Clock::now() + kForAGreeting, "who connected");
    } catch (const Error&) {
      continue;  // no rank of ours
    }
    if (hello.magic != Hello{}.magic) continue;
    if (hello.size != options_.size || hello.rank < 1 || hello.rank >= options_.size) {
      fail(fmt::format("rank {} of {} came to a run of {}", hello.rank, hello.size, options_.size));
    }
    Socket& place = peers_[static_cast<std::size_t>(hello.rank) - 1];
    if (place.defined()) fail(fmt::format("two processes are rank {}", hello.rank));
    place = std::move(next);
    --missing;
  }
}

void HostCommunicator::join() {
  peers_.push_back(Socket::connect(options_.address, options_.port, deadline(), name_of(0)));
  Hello hello;
  hello.rank = options_.rank;
  hello.size = options_.size;
  peers_[0].send(bytes_of(hello), deadline(), name_of(0));
}

void HostCommunicator::send(std::size_t peer, Call call, std::span<const std::byte> bytes) const {
  Header header{.call = static_cast<std::uint32_t>(call), .bytes = bytes.size()};
  peers_[peer].send(bytes_of(header), deadline(), name_of(peer));
  peers_[peer].send(bytes, deadline(), name_of(peer));
}

std::size_t HostCommunicator::receive_header(std::size_t peer, Call call) const {
  Header header;
  peers_[peer].receive(bytes_of(header), deadline(), name_of(peer));
  if (header.call != static_cast<std::uint32_t>(call)) {
    fail(fmt::format("{} is at another point of the run than rank {}", name_of(peer), rank()),
         "all ranks need the same command and the same data");
  }
  return header.bytes;
}

void HostCommunicator::receive(std::size_t peer, Call call, std::span<std::byte> bytes) const {
  const std::size_t size = receive_header(peer, call);
  if (size != bytes.size()) {
    fail(fmt::format("{} has {} bytes to add, rank {} has {}", name_of(peer), size, rank(),
                     bytes.size()),
         "all ranks need the same command and the same data");
  }
  peers_[peer].receive(bytes, deadline(), name_of(peer));
}

template <class Number>
void HostCommunicator::sum(Call call, std::span<Number> values) const {
  if (rank() != 0) {
    send(0, call, std::as_bytes(values));
    receive(0, call, std::as_writable_bytes(values));
    return;
  }
  std::vector<Number> others(values.size());
  for (std::size_t peer = 0; peer < peers_.size(); ++peer) {
    receive(peer, call, std::as_writable_bytes(std::span(others)));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += others[i];
  }
  for (std::size_t peer = 0; peer < peers_.size(); ++peer) send(peer, call, std::as_bytes(values));
}

void HostCommunicator::all_reduce_sum(float* values, std::int64_t count) {
  if (size() > 1) sum(Call::kFloats, std::span(values, static_cast<std::size_t>(count)));
}

void HostCommunicator::all_reduce_sum(std::span<double> values) {
  if (size() > 1) sum(Call::kDoubles, values);
}

std::string HostCommunicator::broadcast(std::string_view bytes) {
  if (rank() == 0) {
    for (std::size_t peer = 0; peer < peers_.size(); ++peer) {
      send(peer, Call::kBytes, std::as_bytes(std::span(bytes)));
    }
    return std::string(bytes);
  }
  std::string result(receive_header(0, Call::kBytes), '\0');
  peers_[0].receive(std::as_writable_bytes(std::span(result)), deadline(), name_of(0));
  return result;
}

void HostCommunicator::check_alive() {
  for (std::size_t peer = 0; peer < peers_.size(); ++peer) {
    if (peers_[peer].is_closed()) fail(name_of(peer) + " is gone: it closed its connection");
  }
}

}  // namespace detail

void Communicator::barrier() {
  double nothing = 0;
  all_reduce_sum(std::span(&nothing, 1));
}

std::shared_ptr<Communicator> make_communicator(const RankOptions& options, Device device) {
  Backend& backend = backend_of(device);
  return backend.make_communicator(std::make_unique<detail::HostCommunicator>(options));
}

}  // namespace wick
