#include "backends/cuda/cuda_stream.hpp"

#include <utility>

#include "backends/cuda/cuda_backend.hpp"
#include "backends/cuda/cuda_check.hpp"
#include "wick/base/error.hpp"

namespace wick::cuda {

namespace {

// The memory of recorded work.
class Pool {
 public:
  Pool(CachingAllocator& allocator, std::uint64_t number)
      : allocator_(allocator), number_(number) {}
  ~Pool() { allocator_.release_pool(number_); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  CachingAllocator& allocator_;
  std::uint64_t number_;
};

class CudaGraph final : public Graph {
 public:
  CudaGraph(cudaGraph_t recorded, std::unique_ptr<Pool> pool)
      : pool_(std::move(pool)), recorded_(recorded) {
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

 private:
  std::unique_ptr<Pool> pool_;
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

CudaStream::~CudaStream() {
  if (pool_ != 0) {  // a capture that nobody ended
    cudaGraph_t recorded = nullptr;
    if (cudaStreamEndCapture(capture_, &recorded) == cudaSuccess) cudaGraphDestroy(recorded);
    backend_.allocator().release_pool(stop_capturing());
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
  check(cudaStreamSynchronize(activate(*this)), "cudaStreamSynchronize");
  backend_.throw_fault();
}

void CudaStream::begin_capture() {
  std::thread::id nobody;
  if (!capturing_thread_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
    throw Error(ErrorKind::kArgument, "stream", "a capture has begun already");
  }
  try {
    pool_ = backend_.allocator().begin_pool(*this);
    backend_.make_current();
    if (capture_ == nullptr) {
      check(cudaStreamCreateWithFlags(&capture_, cudaStreamNonBlocking), "cudaStreamCreate");
    }
    // Relaxed: an allocation that the cache cannot serve may ask the driver meanwhile.
    check(cudaStreamBeginCapture(capture_, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  } catch (...) {
    backend_.allocator().release_pool(stop_capturing());
    throw;
  }
}

// The pool of the capture, which takes nothing more.
std::uint64_t CudaStream::stop_capturing() noexcept {
  const std::uint64_t pool = std::exchange(pool_, 0);
  backend_.allocator().end_pool(pool);
  capturing_thread_.store({}, std::memory_order_relaxed);
  return pool;
}

std::unique_ptr<Graph> CudaStream::end_capture() {
  if (!is_capturing()) {
    throw Error(ErrorKind::kArgument, "stream", "no capture was begun");
  }
  backend_.make_current();
  cudaGraph_t recorded = nullptr;
  const cudaError_t status = cudaStreamEndCapture(capture_, &recorded);
  auto pool = std::make_unique<Pool>(backend_.allocator(), stop_capturing());
  check(status, "cudaStreamEndCapture");
  return std::make_unique<CudaGraph>(recorded, std::move(pool));
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
