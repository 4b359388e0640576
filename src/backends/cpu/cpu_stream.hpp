#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/thread_pool.hpp"
#include "runtime/capture.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cpu {

class CpuBackend;

/// Runs every launch at once on the calling thread and the backend's pool; there is never anything to
/// wait for. A thread that captures keeps its launches instead; what others launch meanwhile is run.
class CpuStream final : public Stream {
 public:
  using Launch = std::function<void(Stream&)>;

  explicit CpuStream(CpuBackend& backend);

  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;

  bool supports_capture() const noexcept override { return true; }
  void begin_capture(const Graph* beside = nullptr) override;
  std::unique_ptr<Graph> end_capture() override;
  void replay(const Graph& graph) override;

  CpuBackend& backend() const noexcept { return backend_; }
  /// Whether this thread records.
  bool is_capturing() const noexcept { return capture_.is_own(); }
  /// What this thread would run, while it captures. Throws what it fails with.
  void keep(Launch launch) { launches_.push_back(std::move(launch)); }

 private:
  CpuBackend& backend_;
  Capture capture_;
  std::vector<Launch> launches_;  // of the capture
};

/// The CPU's stream that `stream` is: launch() takes the device's own.
inline CpuStream& cpu_stream(Stream& stream) { return static_cast<CpuStream&>(stream); }

/// Complete as soon as it exists: a CPU stream is never behind.
class CpuEvent final : public Event {
 public:
  bool is_complete() const override { return true; }
  void synchronize() override {}
};

/// The thread pool for a kernel running on `stream`, of the size that settings ask for.
std::shared_ptr<detail::ThreadPool> thread_pool(Stream& stream);

/// Runs body(begin, end) over chunks of [0, n) of at least `grain` on the threads of `stream`. The cut
/// depends on n, grain and the number of threads only; results must not depend on it.
void parallel_for(Stream& stream, std::int64_t n, std::int64_t grain,
                  detail::FunctionRef<void(std::int64_t, std::int64_t)> body);

/// Rows a chunk should have at least, so that a chunk of rows of `elements_per_row` is worth a thread.
constexpr std::int64_t row_grain(std::int64_t elements_per_row) {
  // About 10 µs of simple work: far above the cost of waking a thread.
  constexpr std::int64_t kElementsPerChunk = 16384;
  return 1 + kElementsPerChunk / (elements_per_row < 1 ? 1 : elements_per_row);
}

}  // namespace wick::cpu
