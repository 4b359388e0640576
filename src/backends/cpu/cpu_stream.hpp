#pragma once

#include <cstdint>
#include <memory>

#include "base/thread_pool.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cpu {

class CpuBackend;

/// Runs every launch at once on the calling thread and the backend's pool; there is never anything to
/// wait for.
class CpuStream final : public Stream {
 public:
  explicit CpuStream(CpuBackend& backend);

  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override {}

  CpuBackend& backend() const noexcept { return backend_; }

 private:
  CpuBackend& backend_;
};

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
