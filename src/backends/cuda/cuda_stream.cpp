#include "backends/cuda/cuda_stream.hpp"

#include <utility>

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

class CudaGraph final : public Graph {
 public:
  CudaGraph(cudaGraph_t recorded, std::shared_ptr<GraphMemory> memory,
            std::unique_ptr<Counters> counters)
      : memory_(std::move(memory)), counters_(std::move(counters)), recorded_(recorded) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, recorded_, 0);
    if (status != cudaSuccess) cudaGraphDestroy(recorded_);
    check(status, "cudaGraphInstantiate");
  }
  ~CudaGraph() override {
    cudaGraphExecDestroy(executable_);
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
  const std::shared_ptr<GraphMemory>& memory() const noexcept { return memory_; }

 private:
  std::shared_ptr<GraphMemory> memory_;
  std::unique_ptr<Counters> counters_;
  cudaGraph_t recorded_;
  cudaGraphExec_t executable_ = nullptr;
};

CudaEvent& cuda_event(Event& event) {
  auto* const found = dynamic_cast<CudaEvent*>(&event);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the event belongs to another kind of device");
  }
  return *found;
}

}  // namespace

Counters::Counters(cudaStream_t stream) {
  constexpr std::size_t kBytes = kCount * sizeof(unsigned);
  void* memory = nullptr;
  check(cudaMalloc(&memory, kBytes), "cudaMalloc");
  data_ = static_cast<unsigned*>(memory);
  // Whatever stream has them first finds zeros.
  cudaError_t status = cudaMemsetAsync(memory, 0, kBytes, stream);
  if (status == cudaSuccess) status = cudaStreamSynchronize(stream);
  if (status != cudaSuccess) cudaFree(memory);
  check(status, "cudaMemsetAsync");
}

Counters::~Counters() { cudaFree(data_); }

CudaStream::CudaStream(CudaBackend& backend)
    : Stream(backend.device()), backend_(backend), captures_(backend.allocator()) {
  backend_.make_current();
  check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "cudaStreamCreate");
  counters_ = std::make_unique<Counters>(handle_);
}

CudaStream::~CudaStream() {
  if (captures_.is_open()) {  // nobody ended it
    cudaGraph_t recorded = nullptr;
    if (cudaStreamEndCapture(capture_, &recorded) == cudaSuccess) cudaGraphDestroy(recorded);
    captures_.end();
  }
  if (capture_ != nullptr) cudaStreamDestroy(capture_);
  cudaStreamDestroy(handle_);
}

void CudaStream::record(Event& event) {
  check(cudaEventRecord(cuda_event(event).handle(), activate(*this)), "cudaEventRecord");
}

void CudaStream::wait(Event& event) {
  check(cudaStreamWaitEvent(activate(*this), cuda_event(event).handle(), 0), "cudaStreamWaitEvent");
}

void CudaStream::synchronize() {
  if (is_capturing()) throw host_in_capture(device());
  check(cudaStreamSynchronize(activate(*this)), "cudaStreamSynchronize");
  backend_.throw_fault();
}

void CudaStream::begin_capture(const Graph* beside) {
  captures_.begin(*this, beside == nullptr ? nullptr : own_graph<CudaGraph>(*beside).memory());
  try {
    backend_.make_current();
    if (capture_ == nullptr) {
      check(cudaStreamCreateWithFlags(&capture_, cudaStreamNonBlocking), "cudaStreamCreate");
    }
    captured_counters_ = std::make_unique<Counters>(handle_);
    captured_.clear();
    // Relaxed: an allocation that the cache cannot serve may ask the driver meanwhile.
    check(cudaStreamBeginCapture(capture_, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  } catch (...) {
    captures_.end();
    throw;
  }
}

std::unique_ptr<Graph> CudaStream::end_capture() {
  captures_.check_own();
  backend_.make_current();
  cudaGraph_t recorded = nullptr;
  const cudaError_t status = cudaStreamEndCapture(capture_, &recorded);
  std::shared_ptr<GraphMemory> memory = captures_.end();
  check(status, "cudaStreamEndCapture");
  return std::make_unique<CudaGraph>(recorded, std::move(memory), std::move(captured_counters_));
}

void CudaStream::replay(const Graph& graph) {
  check(cudaGraphLaunch(own_graph<CudaGraph>(graph).executable(), activate(*this)),
        "cudaGraphLaunch");
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

CudaStream& cuda_stream(Stream& stream) {
  // Streams of other devices never reach this backend: launch() takes the device's own.
  return static_cast<CudaStream&>(stream);
}

CudaBackend& backend_of_stream(Stream& stream) { return cuda_stream(stream).backend(); }

cudaStream_t activate(Stream& stream) {
  CudaStream& own = cuda_stream(stream);
  own.backend().make_current();
  own.overlapping().clear();
  return own.handle();
}

Scratch::Scratch(Stream& stream, std::size_t bytes)
    : allocator_(backend_of_stream(stream).allocator()),
      block_(allocator_.allocate(bytes, stream)) {}

Scratch::~Scratch() { allocator_.release(block_, {}); }

}  // namespace wick::cuda
