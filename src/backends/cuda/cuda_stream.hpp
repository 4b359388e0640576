#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "backends/cuda/overlap.hpp"
#include "runtime/capture.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cuda {

class CudaBackend;

/// Zeros in device memory for kernels whose blocks count one another, and which leave zeros.
class Counters {
 public:
  explicit Counters(cudaStream_t stream);
  ~Counters();
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;

  /// Two of them, for one kernel after the other.
  unsigned* pair() const noexcept { return data_; }
  /// One that the next few calls do not answer: for kernels that count before the kernel before them is over.
  unsigned* ticket() noexcept { return data_ + kCount - kTickets + turn_++ % kTickets; }

 private:
  static constexpr unsigned kTickets = 14;
  static constexpr unsigned kCount = 2 + kTickets;

  unsigned* data_ = nullptr;
  std::atomic<unsigned> turn_{0};
};

/// One CUDA stream. A thread that captures does so beside it, so that what others enqueue meanwhile is run and not
/// recorded.
class CudaStream final : public Stream {
 public:
  /// A new stream that does not wait for the legacy default stream.
  explicit CudaStream(CudaBackend& backend);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;

  bool supports_capture() const noexcept override { return true; }
  void begin_capture(const Graph* beside = nullptr) override;
  std::unique_ptr<Graph> end_capture() override;
  void replay(const Graph& graph) override;

  CudaBackend& backend() const noexcept { return backend_; }
  /// Where this thread's work goes.
  cudaStream_t handle() const noexcept { return is_capturing() ? capture_ : handle_; }
  /// The kernels at the end of this thread's work that let the next begin early.
  OverlappingKernels& overlapping() noexcept { return is_capturing() ? captured_ : enqueued_; }
  /// Whether this thread records.
  bool is_capturing() const noexcept { return captures_.is_own(); }
  /// Those of this thread's work; recorded work has its own.
  Counters& counters() const noexcept { return *(is_capturing() ? captured_counters_ : counters_); }

 private:
  CudaBackend& backend_;
  cudaStream_t handle_ = nullptr;
  cudaStream_t capture_ = nullptr;  // made by the first capture
  std::unique_ptr<Counters> counters_;
  std::unique_ptr<Counters> captured_counters_;
  Capture captures_;
  OverlappingKernels enqueued_;
  OverlappingKernels captured_;
};

/// An event without a time.
class CudaEvent final : public Event {
 public:
  explicit CudaEvent(CudaBackend& backend);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  bool is_complete() const override;
  void synchronize() override;
  cudaEvent_t handle() const noexcept { return handle_; }

 private:
  CudaBackend& backend_;
  cudaEvent_t handle_ = nullptr;
};

/// The CUDA stream that `stream` is: launch() takes the device's own.
CudaStream& cuda_stream(Stream& stream);

/// The backend whose stream this is.
CudaBackend& backend_of_stream(Stream& stream);

/// The CUDA stream behind `stream`, for what waits until all before it is over; its device is current for this thread
/// afterwards.
cudaStream_t activate(Stream& stream);

/// Device memory for the work that is enqueued while it lives: freed memory is reused in stream order.
class Scratch {
 public:
  Scratch(Stream& stream, std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* data() const noexcept { return block_.data; }
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data());
  }

 private:
  CachingAllocator& allocator_;
  Block block_;
};

}  // namespace wick::cuda
