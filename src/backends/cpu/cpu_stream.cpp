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

}  // namespace

CpuStream::CpuStream(CpuBackend& backend)
    : Stream(kCpuDevice), backend_(backend), capture_(backend.allocator()) {}

void CpuStream::record(Event& /*event*/) {}

void CpuStream::wait(Event& event) { event.synchronize(); }

void CpuStream::synchronize() {
  if (is_capturing()) throw host_in_capture(device());
}

void CpuStream::begin_capture(const Graph* beside) {
  capture_.begin(*this, beside == nullptr ? nullptr : own_graph<CpuGraph>(*beside).memory());
}

std::unique_ptr<Graph> CpuStream::end_capture() {
  capture_.check_own();
  std::vector<Launch> launches = std::exchange(launches_, {});
  return std::make_unique<CpuGraph>(std::move(launches), capture_.end());
}

void CpuStream::replay(const Graph& graph) {
  for (const Launch& launch : own_graph<CpuGraph>(graph).launches()) launch(*this);
}

std::shared_ptr<detail::ThreadPool> thread_pool(Stream& stream) {
  return cpu_stream(stream).backend().pool();
}

void parallel_for(Stream& stream, std::int64_t n, std::int64_t grain,
                  detail::FunctionRef<void(std::int64_t, std::int64_t)> body) {
  thread_pool(stream)->parallel_for(n, grain, body);
}

}  // namespace wick::cpu
