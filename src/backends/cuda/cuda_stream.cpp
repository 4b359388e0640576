#include "backends/cuda/cuda_stream.hpp"

#include <utility>

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

class CudaGraph final : public Graph {
 public:
  CudaGraph(cudaGraph_t recorded, std::shared_ptr<GraphMemory> memory)
      : memory_(std::move(memory)), recorded_(recorded) {
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
  cudaGraph_t recorded_;
  cudaGraphExec_t executable_ = nullptr;
};

const CudaGraph& cuda_graph(const Graph& graph) {
  const auto* const found = dynamic_cast<const CudaGraph*>(&graph);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the graph was captured on another kind of device");
  }
  return *found;
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

CudaStream::~CudaStream() {
  if (memory_ != nullptr) {  // a capture that nobody ended
    cudaGraph_t recorded = nullptr;
    if (cudaStreamEndCapture(capture_, &recorded) == cudaSuccess) cudaGraphDestroy(recorded);
    stop_capturing();
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
  CachingAllocator& allocator = backend_.allocator();
  const CudaGraph* const other = beside == nullptr ? nullptr : &cuda_graph(*beside);
  std::thread::id nobody;
  if (!capturing_thread_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
    throw Error(ErrorKind::kArgument, "stream", "a capture has begun already");
  }
  try {
    if (other == nullptr) {
      memory_ = std::make_shared<GraphMemory>(allocator, allocator.begin_pool(*this));
    } else {
      allocator.reopen_pool(other->memory()->pool(), *this);
      memory_ = other->memory();
    }
    backend_.make_current();
    if (capture_ == nullptr) {
      check(cudaStreamCreateWithFlags(&capture_, cudaStreamNonBlocking), "cudaStreamCreate");
    }
    // Relaxed: an allocation that the cache cannot serve may ask the driver meanwhile.
    captured_.clear();
    check(cudaStreamBeginCapture(capture_, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  } catch (...) {
    stop_capturing();
    throw;
  }
}

// The memory of the capture, which takes nothing more.
std::shared_ptr<GraphMemory> CudaStream::stop_capturing() noexcept {
  std::shared_ptr<GraphMemory> memory = std::exchange(memory_, nullptr);
  if (memory != nullptr) backend_.allocator().end_pool(memory->pool());
  capturing_thread_.store({}, std::memory_order_relaxed);
  return memory;
}

std::unique_ptr<Graph> CudaStream::end_capture() {
  if (!is_capturing()) {
    throw Error(ErrorKind::kArgument, "stream", "no capture was begun");
  }
  backend_.make_current();
  cudaGraph_t recorded = nullptr;
  const cudaError_t status = cudaStreamEndCapture(capture_, &recorded);
  std::shared_ptr<GraphMemory> memory = stop_capturing();
  check(status, "cudaStreamEndCapture");
  return std::make_unique<CudaGraph>(recorded, std::move(memory));
}

void CudaStream::replay(const Graph& graph) {
  check(cudaGraphLaunch(cuda_graph(graph).executable(), activate(*this)), "cudaGraphLaunch");
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
