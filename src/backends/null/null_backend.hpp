#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/backend.hpp"
#include "wick/base/error.hpp"

namespace wick::null {

/// One launch as the null device saw it.
struct Launch {
  std::string kernel;
  std::vector<Operand> operands;
  std::int64_t bytes = 0;  ///< of all operands together
};

/// Records launches and computes nothing: graphs, allocators and trainers run on it without hardware.
/// Its memory is real (the host's) and reads as zeros, so that values can be read back.
class NullStream final : public Stream {
 public:
  NullStream();

  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;
  bool supports_capture() const noexcept override { return true; }
  void begin_capture(const Graph* beside = nullptr) override;
  std::unique_ptr<Graph> end_capture() override;
  void replay(const Graph& graph) override;

  /// True between begin_capture() and end_capture().
  bool is_capturing() const;
  /// For kernels: notes a launch.
  void enqueue(Launch launch);
  /// Launches since the last call, in order; captured ones are not among them until replayed.
  std::vector<Launch> take_launches();
  /// Times the host waited.
  std::int64_t num_waits() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Launch> launches_;
  std::vector<Launch> captured_;
  bool capturing_ = false;
  std::int64_t num_waits_ = 0;
};

/// The null device's stream behind a Stream of it. Throws Error kDevice for another device's.
NullStream& null_stream(Stream& stream);

std::unique_ptr<Backend> make_backend();

}  // namespace wick::null
