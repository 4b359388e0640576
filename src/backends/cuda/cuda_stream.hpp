#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <type_traits>

#include "runtime/allocator.hpp"
#include "wick/runtime/stream.hpp"

namespace wick::cuda {

class CudaBackend;

/// One CUDA stream.
class CudaStream final : public Stream {
 public:
  /// A new stream that does not wait for the legacy default stream.
  explicit CudaStream(CudaBackend& backend);
  ~CudaStream() override;

  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;

  bool supports_capture() const noexcept override { return true; }
  void begin_capture() override;
  std::unique_ptr<Graph> end_capture() override;
  void replay(const Graph& graph) override;

  CudaBackend& backend() const noexcept { return backend_; }
  cudaStream_t handle() const noexcept { return handle_; }

 private:
  CudaBackend& backend_;
  cudaStream_t handle_ = nullptr;
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

/// The backend whose stream this is.
CudaBackend& backend_of_stream(Stream& stream);

/// The CUDA stream behind `stream`; its device is current for this thread afterwards.
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
