#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "runtime/allocator.hpp"
#include "wick/base/error.hpp"
#include "wick/layout/device.hpp"
#include "wick/runtime/stream.hpp"

namespace wick {

/// The memory of recorded work: a pool that nobody else is handed.
class GraphMemory {
 public:
  GraphMemory(CachingAllocator& allocator, std::uint64_t pool)
      : allocator_(allocator), pool_(pool) {}
  ~GraphMemory() { allocator_.release_pool(pool_); }
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;
  std::uint64_t pool() const noexcept { return pool_; }

 private:
  CachingAllocator& allocator_;
  std::uint64_t pool_;
};

/// The capture of a stream: one at a time, of one thread, with the memory that its work takes.
class Capture {
 public:
  explicit Capture(CachingAllocator& allocator) : allocator_(allocator) {}

  /// Whether this thread captures.
  bool is_own() const noexcept {
    return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }
  /// Whether any does.
  bool is_open() const noexcept { return memory_ != nullptr; }

  /// This thread captures from here on, into memory of its own or, where that is given, into what `beside` has. Throws Error
  /// kArgument where one captures already.
  void begin(Stream& stream, std::shared_ptr<GraphMemory> beside);
  /// Nobody captures. Returns the memory, which takes nothing more; null where there was no capture.
  std::shared_ptr<GraphMemory> end() noexcept;

  /// Throws Error kArgument where this thread does not capture.
  void check_own() const;

 private:
  CachingAllocator& allocator_;
  std::atomic<std::thread::id> thread_;
  std::shared_ptr<GraphMemory> memory_;
};

/// The graph as that of a backend. Throws Error kDevice where another kind of device captured it.
template <class Own>
const Own& own_graph(const Graph& graph) {
  const auto* const found = dynamic_cast<const Own*>(&graph);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the graph was captured on another kind of device");
  }
  return *found;
}

/// What a backend throws where work that is being captured would wait for the host, or take values from it that a repetition
/// would find gone.
inline Error host_in_capture(Device device) {
  return {ErrorKind::kUnsupported, "stream",
          to_string(device) + " cannot read or write values of the host while it captures"};
}

}  // namespace wick
