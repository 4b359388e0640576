#include "backends/cuda/cuda_stream.hpp"

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraph_t recorded) : recorded_(recorded) {
    check(cudaGraphInstantiate(&executable_, recorded_, 0), "cudaGraphInstantiate");
  }
  ~CudaGraph() override {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(recorded_);
  }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  std::int64_t num_launches() const override {
    std::size_t nodes = 0;
    check(cudaGraphGetNodes(recorded_, nullptr, &nodes), "cudaGraphGetNodes");
    return static_cast<std::int64_t>(nodes);
  }
  cudaGraphExec_t executable() const noexcept { return executable_; }

 private:
  cudaGraph_t recorded_;
  cudaGraphExec_t executable_ = nullptr;
};

CudaStream& cuda_stream(Stream& stream) {
  // Streams of other devices never reach this backend: launch() takes the device's own.
  return static_cast<CudaStream&>(stream);
}

CudaEvent& cuda_event(Event& event) {
  auto* const found = dynamic_cast<CudaEvent*>(&event);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the event belongs to another kind of device");
  }
  return *found;
}

}  // namespace

CudaStream::CudaStream(CudaBackend& backend) : Stream(backend.device()), backend_(backend) {
  backend_.make_current();
  check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreate");
}

CudaStream::~CudaStream() { cudaStreamDestroy(handle_); }

void CudaStream::record(Event& event) {
  check(cudaEventRecord(cuda_event(event).handle(), activate(*this)), "cudaEventRecord");
}

void CudaStream::wait(Event& event) {
  check(cudaStreamWaitEvent(activate(*this), cuda_event(event).handle(), 0), "cudaStreamWaitEvent");
}

void CudaStream::synchronize() {
  check(cudaStreamSynchronize(activate(*this)), "cudaStreamSynchronize");
  backend_.throw_fault();
}

void CudaStream::begin_capture() {
  // Relaxed: an allocation that the cache cannot serve may ask the driver meanwhile.
  check(cudaStreamBeginCapture(activate(*this), cudaStreamCaptureModeRelaxed),
        "cudaStreamBeginCapture");
}

std::unique_ptr<Graph> CudaStream::end_capture() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(activate(*this), &status), "cudaStreamIsCapturing");
  if (status == cudaStreamCaptureStatusNone) {
    throw Error(ErrorKind::kArgument, "stream", "no capture was begun");
  }
  cudaGraph_t recorded = nullptr;
  check(cudaStreamEndCapture(handle_, &recorded), "cudaStreamEndCapture");
  return std::make_unique<CudaGraph>(recorded);
}

void CudaStream::replay(const Graph& graph) {
  const auto* const recorded = dynamic_cast<const CudaGraph*>(&graph);
  if (recorded == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the graph was captured on another kind of device");
  }
  check(cudaGraphLaunch(recorded->executable(), activate(*this)), "cudaGraphLaunch");
}

CudaEvent::CudaEvent(CudaBackend& backend) : backend_(backend) {
  backend_.make_current();
  check(cudaEventCreateWithFlags(&handle_, cudaEventDisableTiming), "cudaEventCreate");
}

CudaEvent::~CudaEvent() { cudaEventDestroy(handle_); }

bool CudaEvent::is_complete() const {
  const cudaError_t status = cudaEventQuery(handle_);
  if (status == cudaErrorNotReady) return false;
  check(status, "cudaEventQuery");
  return true;
}

void CudaEvent::synchronize() {
  check(cudaEventSynchronize(handle_), "cudaEventSynchronize");
  backend_.throw_fault();
}

CudaBackend& backend_of_stream(Stream& stream) { return cuda_stream(stream).backend(); }

cudaStream_t activate(Stream& stream) {
  CudaStream& own = cuda_stream(stream);
  own.backend().make_current();
  return own.handle();
}

Scratch::Scratch(Stream& stream, std::size_t bytes)
    : allocator_(backend_of_stream(stream).allocator()),
      block_(allocator_.allocate(bytes, stream)) {}

Scratch::~Scratch() { allocator_.release(block_, {}); }

}  // namespace wick::cuda
