#include "backends/cpu/cpu_stream.hpp"

#include <utility>

#include "backends/cpu/cpu_backend.hpp"

namespace wick::cpu {

namespace {

class CpuGraph final : public Graph {
 public:
  CpuGraph(std::vector<CpuStream::Launch> launches, std::shared_ptr<GraphMemory> memory)
      : memory_(std::move(memory)), launches_(std::move(launches)) {}

  std::int64_t num_launches() const override { return static_cast<std::int64_t>(launches_.size()); }
  const std::vector<CpuStream::Launch>& launches() const noexcept { return launches_; }
  const std::shared_ptr<GraphMemory>& memory() const noexcept { return memory_; }

 private:
  std::shared_ptr<GraphMemory> memory_;
  std::vector<CpuStream::Launch> launches_;
};

const CpuGraph& cpu_graph(const Graph& graph) {
  const auto* const found = dynamic_cast<const CpuGraph*>(&graph);
  if (found == nullptr) {
    throw Error(ErrorKind::kDevice, "stream", "the graph was captured on another kind of device");
  }
  return *found;
}

}  // namespace

CpuStream::CpuStream(CpuBackend& backend) : Stream(kCpuDevice), backend_(backend) {}

void CpuStream::record(Event& /*event*/) {}

void CpuStream::wait(Event& event) { event.synchronize(); }

void CpuStream::synchronize() {
  if (is_capturing()) throw host_in_capture(device());
}

void CpuStream::begin_capture(const Graph* beside) {
  const CpuGraph* const other = beside == nullptr ? nullptr : &cpu_graph(*beside);
  std::thread::id nobody;
  if (!capturing_thread_.compare_exchange_strong(nobody, std::this_thread::get_id())) {
    throw Error(ErrorKind::kArgument, "stream", "a capture has begun already");
  }
  CachingAllocator& allocator = backend_.allocator();
  try {
    if (other == nullptr) {
      memory_ = std::make_shared<GraphMemory>(allocator, allocator.begin_pool(*this));
    } else {
      allocator.reopen_pool(other->memory()->pool(), *this);
      memory_ = other->memory();
    }
  } catch (...) {
    capturing_thread_.store({}, std::memory_order_relaxed);
    throw;
  }
}

std::unique_ptr<Graph> CpuStream::end_capture() {
  if (!is_capturing()) throw Error(ErrorKind::kArgument, "stream", "no capture was begun");
  const std::shared_ptr<GraphMemory> memory = std::exchange(memory_, nullptr);
  backend_.allocator().end_pool(memory->pool());
  std::vector<Launch> launches = std::exchange(launches_, {});
  capturing_thread_.store({}, std::memory_order_relaxed);
  return std::make_unique<CpuGraph>(std::move(launches), memory);
}

void CpuStream::replay(const Graph& graph) {
  for (const Launch& launch : cpu_graph(graph).launches()) launch(*this);
}

std::shared_ptr<detail::ThreadPool> thread_pool(Stream& stream) {
  return cpu_stream(stream).backend().pool();
}

void parallel_for(Stream& stream, std::int64_t n, std::int64_t grain,
                  detail::FunctionRef<void(std::int64_t, std::int64_t)> body) {
  thread_pool(stream)->parallel_for(n, grain, body);
}

}  // namespace wick::cpu
